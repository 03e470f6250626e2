import assert from 'node:assert/strict'
import { test } from 'node:test'
import { withTable } from '../../bench/report.ts'
import { CAUSE_OF, fateOf } from '../../bench/simulation/fates.ts'
import { courseOf, rowsOf } from '../../bench/simulation/findings.ts'
import { isBeyond, resourceOf } from '../../bench/simulation/limit.ts'
import { type Marks, overheadOf } from '../../bench/simulation/marks.ts'
import { engineTimes, valueAt } from '../../bench/simulation/measured.ts'
import { joined, type Part, peakOf, steadyOf } from '../../bench/simulation/part.ts'
import { readSettings } from '../../bench/simulation/settings.ts'
import type { Usage } from '../../bench/simulation/usage.ts'

const times = { start: (u: number) => 200 + u, remove: (u: number) => 100 + u }
const MARKS: Marks = {
  run_id: 'r',
  session_id: 's',
  accepted: 1_000,
  taken: 1_010,
  asked: 1_015,
  started: 1_217,
  opened: 1_220,
  exited: 4_000,
  startMs: 200,
  removeMs: 100,
  starts: 1,
  settled: 4_130,
}
const part = (cpuMs: number, all: number): Part => ({
  sessions: 10,
  rate: 5,
  overheads: [{ wait: all, prepare: 0, open: 0, end: 0, all }],
  answers: [3],
  peak: 4,
  perSecond: 5,
  eventsPerSecond: 100,
  cpuMs,
  work: { commands: 500, keys: 900, documents: 700 },
  steady: {
    kept: 1,
    load: {
      api: { cores: 0.1, busiest: 0.1 },
      worker: { cores: 0.6, busiest: 0.5 },
      mongodb: { cores: 0.6, busiest: 0.6 },
      redis: { cores: 0.1, busiest: 0.1 },
      agents: { cores: 0.1, busiest: 0.1 },
      driver: { cores: 0.1, busiest: 0.1 },
      machine: 1.95,
    },
  },
  memory: [1_000, 11_240],
  violations: [],
  ms: 100,
})

test('a value is drawn between the quantiles that were measured', () => {
  const known = { p50: 200, p95: 250, p99: 300 }
  assert.deepEqual(
    [0, 0.5, 0.95, 0.97, 0.99, 1].map((u) => Math.round(valueAt(known, u))),
    [150, 200, 250, 275, 300, 300],
  )
  assert.throws(() => engineTimes([]), /has no row "dockerode script, p50": run make bench/)
})

test('the fate of a session follows from seed and name alone, and failures come as often as they should', () => {
  const options = { seed: 7, times, failures: 1 }
  assert.deepEqual(fateOf(options, 's-1'), fateOf(options, 's-1'))
  assert.notDeepEqual(fateOf(options, 's-1'), fateOf({ ...options, seed: 8 }, 's-1'))
  const kinds = Array.from({ length: 3_000 }, (_, n) => fateOf(options, `s-${n}`).kind)
  for (const kind of Object.keys(CAUSE_OF)) assert.ok(kinds.includes(kind as 'completed'), kind)
  const plain = kinds.filter((kind) => kind === 'completed').length / kinds.length
  assert.ok(plain > 0.85 && plain < 0.94, `${plain} are completed`)
  assert.equal(fateOf({ ...options, failures: 0 }, 's-1').kind, 'completed')
})

test('overhead is the life of a run without what its engine and its agent took', () => {
  assert.deepEqual(overheadOf(MARKS), { wait: 10, prepare: 5, open: 5, end: 30, all: 50 })
  const { opened, exited, ...failed } = MARKS
  assert.deepEqual(overheadOf({ ...failed, removeMs: 0, settled: 1_240 }), {
    wait: 10,
    prepare: 5,
    open: 2,
    end: 23,
    all: 40,
  })
})

test('runs at work at once are counted from when they were taken up until they were settled', () => {
  const lives = [
    { taken: 0, settled: 10 },
    { taken: 5, settled: 8 },
    { taken: 8, settled: 12 },
  ]
  assert.equal(peakOf(lives), 2)
})

test('what is at its limit is named: a process of one thread, or the whole machine and who has it', () => {
  const { load } = part(1, 1).steady
  assert.match(resourceOf(load, 2), /^the cores of the machine \(the workers 31 %, MongoDB 31 %/)
  assert.match(resourceOf(load, 8), /^no CPU of ours/)
  const busy = { ...load, api: { cores: 0.97, busiest: 0.97 } }
  assert.equal(resourceOf(busy, 8), 'one core, by the API process')
})

test('a session that costs more because there are many misses the target', () => {
  const missed = (large: Part) =>
    rowsOf({ small: [part(10, 20), part(10, 20)], large })
      .filter(({ meets }) => meets === false)
      .map(({ name }) => name)
  assert.deepEqual(missed(part(11, 39)), [])
  assert.deepEqual(missed(part(11, 41)), ['scheduling overhead of 10 sessions, p99'])
  assert.deepEqual(missed(part(14, 20)), ['CPU of mgx and its databases for each session'])
})

test('the course of a crowd ends with its last session', () => {
  const overheads = Array.from({ length: 45 }, (_, n) => ({ wait: n, prepare: 0, open: 0, end: 0, all: n }))
  const course = courseOf(overheads, 10)
  assert.deepEqual(course[0], { at: 5, p50: 2, p99: 4 })
  assert.deepEqual(course.at(-1), { at: 45, p50: 42, p99: 44 })
})

test('settings say the rule they were broken by', () => {
  assert.deepEqual(readSettings({ SESSIONS: '5', RATE: '2.5' }).rate, 2.5)
  assert.throws(() => readSettings({ SESSIONS: '0' }), /SESSIONS=0: must be a whole number from 1 to 1000000/)
  assert.throws(() => readSettings({ RATE: 'fast' }), /RATE=fast: must be a number above 0/)
})

test('a table is written between its markers, and nowhere else', () => {
  const page = 'a\n<!-- x:begin (written by make x) -->\nold\n<!-- x:end -->\nz'
  assert.equal(withTable(page, 'x', 'new'), page.replace('old', 'new'))
  assert.throws(() => withTable('a page', 'x', 'new'), /lost its markers/)
})

test('a rate is beyond the limit when fewer sessions end than come, half of them wait a second, or no core is idle', () => {
  const usage = (at: number, machineMs: number): Usage => ({
    ...{ at, machineMs, memory: new Map(), work: { commands: 0, keys: 0, documents: 0 } },
    cpu: new Map([['worker', { all: machineMs / 2, each: [machineMs / 4, machineMs / 4] }]]),
  })
  const { kept, load } = steadyOf({ ended: 40, usage: usage(0, 0) }, { ended: 120, usage: usage(1_000, 1_800) }, 100)
  assert.deepEqual([kept, load.machine, load.worker], [0.8, 1.8, { cores: 0.9, busiest: 0.45 }])
  assert.deepEqual(
    [
      { kept, p50: 10, machine: 1 },
      { kept: 0.95, p50: 10, machine: 1 },
      { kept: 1, p50: 1_200, machine: 1 },
      { kept: 1, p50: 10, machine: load.machine },
      // No /proc there: nothing is known.
      { kept: 1, p50: 10, machine: 0 },
    ].map((step) => isBeyond(step, 2)),
    [true, false, true, true, false],
  )
})

test('crowds that came one after the other are one: counts add up, means weigh, the peak is the highest', () => {
  const [a, b] = [part(10, 1), { ...part(40, 2), sessions: 20, peak: 9, ms: 300, violations: ['x'] }]
  const one = joined([a, b])
  assert.deepEqual(
    [one.sessions, one.cpuMs, one.peak, one.ms, one.perSecond, one.work.keys, one.overheads.length, one.violations],
    [30, 30, 9, 400, 75, 1_800, 2, ['x']],
  )
  assert.deepEqual(one.memory, [a.memory[0], b.memory[1]])
  assert.throws(() => joined([]), RangeError)
})
