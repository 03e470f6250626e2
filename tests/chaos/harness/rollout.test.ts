import assert from 'node:assert/strict'
import { test } from 'node:test'
import { runChaos } from './chaos.ts'
import { makeRollout } from './plan-rollout.ts'
import { summaryOf } from './report.ts'
import { readSettings } from './settings.ts'

const SETTINGS = readSettings({ MODE: 'rollout', SESSIONS: '6', SEED: '1' }, () => 1)

// Some thirty seconds; a busy machine needs several times as long.
const LIMIT = { timeout: 360_000 }

test(
  'six sessions while every API and worker is replaced: none lost, none doubled, every stream resumed',
  LIMIT,
  async (t) => {
    const report = await runChaos({ settings: SETTINGS, say: (line) => t.diagnostic(line), signal: t.signal })
    if ('skip' in report) return t.skip(report.skip)
    t.diagnostic(summaryOf(report))
    if (report.violations.length > 0) for (const { text } of report.logs) t.diagnostic(text)
    assert.deepEqual(report.violations, [])
    assert.deepEqual(
      report.runs.map(({ cause }) => cause),
      Array.from({ length: 6 }, () => 'completed'),
    )
    assert.match(report.faults[0]?.what ?? '', /4 processes replaced in turn/)
    const handedOver = report.runs.filter(({ attempts }) => attempts > 1)
    assert.ok(handedOver.length > 0, 'runs went from one worker to another')
  },
)

test('a rollout follows from its seed, and so does the command that repeats it', () => {
  assert.deepEqual(makeRollout({ seed: 3, sessions: 20 }), makeRollout({ seed: 3, sessions: 20 }))
  const { sessions, faults } = makeRollout({ seed: 3, sessions: 20 })
  assert.deepEqual([sessions.length, faults.map(({ kind, after }) => [kind, after])], [20, [['house.roll', 14]]])
})
