import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { SessionEvent } from '#contracts/events.ts'
import { clientOf, type Doctored, eventAt, evidenceOf, FINISH, LOG, RUN } from './sound-evidence.ts'
import { judge } from './verdict.ts'

const without = (seq: number): SessionEvent[] => LOG.filter((event) => event.seq !== seq)
const FRAMES = clientOf(LOG).frames

/** What is done to sound evidence, the rule that must see it, and what it must say. */
const DOCTORED: readonly (readonly [string, Doctored, string, RegExp])[] = [
  ['a second finish', { log: [...LOG, eventAt(9, 'finish', FINISH)] }, 'one finish, the last', /exactly one finish/],
  ['no finish', { log: without(8) }, 'one finish, the last', /exactly one finish/],
  [
    'an event behind the finish',
    { log: [...LOG, eventAt(9, 'log', { level: 'info', message: 'late' })] },
    'one finish, the last',
    /last event/,
  ],
  [
    'a finish whose status is not its cause’s',
    { log: [...without(8), eventAt(8, 'finish', { ...FINISH, cause: 'timeout' })] },
    'finish is typed',
    /success: timeout/,
  ],
  ['a document that says something else', { run: { lock: true } }, 'one finish, the last', /true !== false/],
  ['a gap', { log: without(5) }, 'seq has no gaps', /where seq 5 is due, there is 6/],
  ['a delta that was lost', { log: without(5) }, 'messages are whole', /deltas amount to/],
  ['a run that never ended', { run: { state: 'running' } }, 'ended', /never ended: running/],
  ['a container whose removal is owed', { run: { container_gone: false } }, 'ended', /still owed/],
  [
    'a client that missed one',
    { client: { frames: FRAMES.filter(({ id }) => id !== 4) } },
    'live = stored, patient client 0',
    /where seq 4 is stored, it got 5/,
  ],
  [
    'a client that missed the last one',
    { client: { frames: FRAMES.slice(0, -1) } },
    'live = stored, patient client 0',
    /never got seq 8 \(finish\)/,
  ],
  [
    'a client that got one twice',
    { client: { frames: [...FRAMES, ...FRAMES.slice(-1)] } },
    'live = stored, patient client 0',
    /got seq 8, which is not stored, or came twice/,
  ],
  [
    'a client that got other bytes',
    { client: { frames: FRAMES.map((frame) => ({ ...frame, data: frame.data.replace('two', 'too') })) } },
    'live = stored, patient client 0',
    /seq 5 came with other bytes/,
  ],
  ['a client left waiting', { client: { told: false } }, 'live = stored, patient client 0', /never told/],
  ['a client that was refused', { client: { refusal: '410' } }, 'live = stored, patient client 0', /refused: 410/],
  ['no result', { evidence: { result: undefined } }, 'result is kept', /another result/],
  ['no exit code', { run: { exit: { code: null, reason: 'lost' } } }, 'output and exit are kept', /no exit code/],
  ['no output', { evidence: { output: '' } }, 'output and exit are kept', /output is not kept/],
  ['work done twice', { evidence: { worked: 2 } }, 'work is done once', /done 2 times/],
  [
    'an end that nothing explains',
    { evidence: { expected: 'agent_error' } },
    'survives what it can',
    /it ends as agent_error, not completed/,
  ],
  [
    'a finish long after the deadline',
    { run: { deadline_at: new Date(RUN.created_at.getTime() - 9_000) } },
    'deadline holds',
    /10800 ms after its deadline/,
  ],
  ['a left container', { all: { leftovers: ['container /mgx-agent-s0'] } }, 'nothing is left', /mgx-agent-s0/],
  ['a process that died', { all: { broken: ['worker 0'] } }, 'processes live, start and leave', /worker 0/],
  ['a prompt that nobody took', { all: { refused: ['s1-0: 503'] } }, 'prompts are accepted', /503/],
  [
    'an accepted run that is not stored',
    { all: { accepted: [{ session_id: 's0', run_id: 'run-2' }] } },
    'accepted = stored',
    /no document/,
  ],
]

describe('the verdict of the chaos harness', () => {
  test('finds nothing where every promise was kept', () => assert.deepEqual(judge(evidenceOf()), []))

  for (const [name, doctored, rule, what] of DOCTORED) {
    test(`sees ${name}`, () => {
      const found = judge(evidenceOf(doctored)).filter((violation) => violation.rule === rule)
      assert.equal(found.length, 1, `the rule "${rule}" sees it`)
      assert.match(found[0]?.what ?? '', what)
    })
  }

  test('names the run and its session', () => {
    const [violation] = judge(evidenceOf({ evidence: { worked: 2 } }))
    assert.deepEqual([violation?.session_id, violation?.run_id], ['s0', 'run-1'])
  })

  test('an event of a run that nobody knows', () => {
    const stranger = { ...eventAt(9, 'log', { level: 'info', message: 'boo' }), run_id: 'run-9' }
    const found = judge(evidenceOf({ log: [...LOG, stranger], client: clientOf(LOG) }))
    assert.match(found[0]?.what ?? '', /unknown run run-9/)
  })

  test('what a removed container took along is not asked for', () => {
    const gone = {
      run: { exit: { code: null, reason: 'lost' } },
      evidence: { output: '', excused: { exit: true, output: true } },
    }
    assert.deepEqual(judge(evidenceOf(gone as Doctored)), [])
  })
})
