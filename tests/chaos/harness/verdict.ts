import assert from 'node:assert/strict'
import { CAUSES } from '#contracts/causes.ts'
import { encodeEvent, type SessionEvent } from '#contracts/events.ts'
import { checkOver } from '../../scheduler/check-over.ts'
import { checkMessages } from '../check.ts'
import type { ClientEvidence, Evidence, RunEvidence, SessionEvidence } from './evidence.ts'

/** A promise that was broken: which, and by which run. */
export type Violation = {
  readonly rule: string
  readonly session_id?: string
  readonly run_id?: string
  readonly what: string
}

/** What is promised of a run, given its own events. */
type Rule = (evidence: RunEvidence, own: readonly SessionEvent[], all: Evidence) => void

const finishOf = (own: readonly SessionEvent[]) => own.findLast((event) => event.event_type === 'finish')

const ended: Rule = ({ run }) => {
  assert.equal(run.state, 'finished', `it never ended: ${run.state}, attempt ${run.attempt}`)
  assert.equal(run.container_gone, true, 'the removal of its container is still owed')
}

const typed: Rule = (_evidence, own) => {
  const finish = finishOf(own)
  assert(finish?.event_type === 'finish', 'it has no finish')
  assert.equal(CAUSES[finish.data.cause], finish.data.status, `finish says ${finish.data.status}: ${finish.data.cause}`)
}

const inTime: Rule = ({ run }, own, { graceMs }) => {
  const finish = finishOf(own)
  if (finish === undefined || run.deadline_at === undefined) return
  const late = finish.timestamp.getTime() - run.deadline_at.getTime()
  assert(late <= graceMs, `its finish came ${late} ms after its deadline; the grace is ${graceMs} ms`)
}

const survives: Rule = ({ expected, run }, own) => {
  if (expected === undefined || own.some(({ event_type }) => event_type === 'cancel_requested')) return
  assert.equal(
    run.result?.cause,
    expected,
    `nobody touched it: it ends as ${expected}, not ${run.result?.cause}: ${run.result?.error}`,
  )
}

const once: Rule = ({ worked }) => assert(worked <= 1, `its work was done ${worked} times`)

const result: Rule = ({ run, result: answered }) =>
  assert.deepEqual(answered, run.result, 'the API has another result than the document, or none')

const BEGUN = /agent started: session /

const facts: Rule = ({ run, output, excused }, own) => {
  if (!own.some(({ event_type }) => event_type === 'agent_start')) return
  if (!excused.exit) assert.equal(typeof run.exit?.code, 'number', `no exit code is kept (${run.result?.cause})`)
  if (!excused.output) assert.match(output, BEGUN, `its output is not kept (${run.result?.cause})`)
}

const RUN_RULES: Readonly<Record<string, Rule>> = {
  ended,
  'one finish, the last': ({ run }, own) => void checkOver(own, run),
  'finish is typed': typed,
  'messages are whole': (_evidence, own) => checkMessages(own),
  'result is kept': result,
  'output and exit are kept': facts,
  'deadline holds': inTime,
  'work is done once': once,
  'survives what it can': survives,
}

/** The first place at which a client has something else than what is stored. */
const checkClient = ({ frames, told, refusal }: ClientEvidence, own: readonly SessionEvent[]): void => {
  assert.equal(refusal, undefined, `it was refused: ${refusal}`)
  for (const [index, event] of own.entries()) {
    const frame = frames[index]
    assert(
      frame !== undefined,
      `it never got seq ${event.seq} (${event.event_type}); ${frames.length} of ${own.length}`,
    )
    assert.equal(frame.id, event.seq, `where seq ${event.seq} is stored, it got ${frame.id}`)
    assert.equal(frame.event, event.event_type, `seq ${event.seq} came with another name`)
    assert.equal(frame.data, encodeEvent(event), `seq ${event.seq} came with other bytes`)
  }
  const more = frames[own.length]
  assert.equal(more, undefined, `it got seq ${more?.id}, which is not stored, or came twice`)
  assert(told, 'it was never told that no more will come')
}

type Where = Pick<Violation, 'session_id' | 'run_id'>

const FIRST_LINE_MAX = 400

const found = (rule: string, where: Where, check: () => void): Violation[] => {
  try {
    check()
    return []
  } catch (error) {
    if (!(error instanceof assert.AssertionError)) throw error
    return [{ rule, ...where, what: error.message.split('\n').slice(0, 6).join(' ').slice(0, FIRST_LINE_MAX) }]
  }
}

const judgeRun = (evidence: RunEvidence, log: readonly SessionEvent[], all: Evidence): Violation[] => {
  const { run_id, session_id } = evidence.run
  const own = log.filter((event) => event.run_id === run_id)
  const rules = Object.entries(RUN_RULES).flatMap(([rule, check]) =>
    found(rule, { session_id, run_id }, () => check(evidence, own, all)),
  )
  const clients = evidence.clients.flatMap((client) =>
    found(`live = stored, ${client.name}`, { session_id, run_id }, () => checkClient(client, own)),
  )
  return [...rules, ...clients]
}

const judgeSession = (session: SessionEvidence, all: Evidence): Violation[] => {
  const { session_id, log, runs } = session
  const known = new Set(runs.map(({ run }) => run.run_id))
  const numbers = found('seq has no gaps', { session_id }, () => {
    const at = log.findIndex(({ seq }, index) => seq !== index + 1)
    assert.equal(at, -1, `where seq ${at + 1} is due, there is ${log[at]?.seq}`)
  })
  const strangers = found('events have a run', { session_id }, () => {
    const stranger = log.find(({ run_id }) => !known.has(run_id))
    assert.equal(stranger, undefined, `seq ${stranger?.seq} is of the unknown run ${stranger?.run_id}`)
  })
  return [...numbers, ...strangers, ...runs.flatMap((run) => judgeRun(run, log, all))]
}

const each = (rule: string, list: readonly string[]): Violation[] => list.map((what) => ({ rule, what }))

/** Every broken promise; none: all were kept. Pure. */
export const judge = (evidence: Evidence): Violation[] => {
  const stored = new Set(evidence.sessions.flatMap(({ runs }) => runs.map(({ run }) => run.run_id)))
  const lost = evidence.accepted
    .filter(({ run_id }) => !stored.has(run_id))
    .map((run) => ({ rule: 'accepted = stored', ...run, what: 'it was accepted, and there is no document of it' }))
  return [
    ...lost,
    ...evidence.sessions.flatMap((session) => judgeSession(session, evidence)),
    ...each('nothing is left', evidence.leftovers),
    ...each('processes live, start and leave', evidence.broken),
    ...each('prompts are accepted', evidence.refused),
  ]
}
