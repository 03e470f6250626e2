import assert from 'node:assert/strict'
import { test } from 'node:test'
import { runChaos } from './chaos.ts'
import type { FaultKind } from './plan.ts'
import { summaryOf } from './report.ts'
import type { Settings } from './settings.ts'

/** A plan of half a minute in which every manner comes. All that needs no daemon of its own and no sleep past a lock; `make chaos` has the rest. */
const KINDS: readonly FaultKind[] = [
  'worker.kill',
  'worker.term',
  'api.kill',
  'redis.kill',
  'redis.flush',
  'mongod.kill',
  'container.kill',
  'container.remove',
  'container.pause',
  'runner.kill',
  'model.cut',
  'store.cut',
]

const SETTINGS: Settings = { mode: 'chaos', seed: 133, sessions: 10, duration: 10, places: 8, kinds: KINDS, env: {} }

// An adoption takes twenty seconds, and one run may need two; a busy machine needs several times as long for all of it.
const LIMIT = { timeout: 360_000 }

test('ten sessions on both channels while everything under them is killed: every promise is kept', LIMIT, async (t) => {
  const report = await runChaos({ settings: SETTINGS, say: (line) => t.diagnostic(line), signal: t.signal })
  if ('skip' in report) return t.skip(report.skip)
  t.diagnostic(summaryOf(report))
  if (report.violations.length > 0) for (const { text } of report.logs) t.diagnostic(text)
  assert.deepEqual(report.violations, [])
  assert.ok(report.runs.length >= SETTINGS.sessions)
})
