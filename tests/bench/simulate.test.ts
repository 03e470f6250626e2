import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { test } from 'node:test'
import { MongoClient } from 'mongodb'
import { checkStand } from '../../bench/simulation/check.ts'
import { type Fate, fateOf } from '../../bench/simulation/fates.ts'
import { readSettings } from '../../bench/simulation/settings.ts'
import { simulate } from '../../bench/simulation/simulate.ts'
import { startMongo } from '../services/mongodb.ts'

// It takes some ten seconds, and a busy machine several times that.
const LIMIT = { timeout: 180_000 }

const SIZES = { few: 10, pieces: 1, warmUp: 5 } as const

test(
  'sixty sessions over two workers, a fifth of which go wrong: all end once, and all is reported',
  LIMIT,
  async (t) => {
    const settings = { ...readSettings({ SESSIONS: '60', WORKERS: '2', SEED: '3', RATE: '12', FAILURES: '2' }) }
    const report = await simulate({
      settings,
      sizes: SIZES,
      limits: false,
      own: false,
      signal: t.signal,
      say: (line) => t.diagnostic(line),
    })
    if ('skip' in report) return t.skip(report.skip)
    assert.deepEqual(report.violations, [])
    assert.equal(report.rate, 12)
    assert.equal(report.rows.length, 21)
    for (const { name, value } of report.rows) assert.ok(Number.isFinite(value), name)
    assert.deepEqual(
      report.charts.map(({ file }) => file),
      ['simulate-overhead'],
    )
  },
)

test('what a stand has stored is held against what was promised', async (t) => {
  const mongo = await startMongo()
  if ('skip' in mongo) return t.skip(mongo.skip)
  await using _mongo = mongo
  await using client = await new MongoClient(mongo.url).connect()
  const db = client.db(`simulate_check_${randomUUID().slice(0, 8)}`)
  const run = (n: number, more: object) => ({
    run_id: `r${n}`,
    session_id: `x-${n}`,
    lock: false,
    container_gone: true,
    ...more,
  })
  const over = (cause: string) => ({ state: 'finished', result: { cause } })
  const runs: object[] = [
    run(0, over('completed')),
    run(1, over('worker_lost')),
    run(2, { state: 'running', container_gone: false }),
    run(5, over('completed')),
  ]
  const event = (session: number, seq: number, event_type: string) => ({
    session_id: `x-${session}`,
    run_id: `r${session}`,
    seq,
    event_type,
  })
  const events = [
    event(0, 1, 'agent_start'),
    event(0, 2, 'finish'),
    event(1, 1, 'agent_start'),
    event(1, 2, 'agent_start'),
    event(1, 4, 'finish'),
    event(5, 1, 'finish'),
  ]
  try {
    await db.collection('runs').insertMany(runs)
    await db.collection('events').insertMany(events)
    const accepted = new Map([0, 1, 2, 3].map((n) => [`r${n}`, `x-${n}`]))
    const marks = { accepted: 0, taken: 0, startMs: 0, removeMs: 0, settled: 0 }
    const ended = [
      { run_id: 'r0', session_id: 'x-0', starts: 2, ...marks },
      { run_id: 'r0', session_id: 'x-0', starts: 1, ...marks },
    ]
    const driven = { accepted, ended, wrong: ['said already'], followed: 0, ms: 1, answers: [] }
    const plain = (id: string): Fate => ({
      ...fateOf({ seed: 1, times: { start: () => 1, remove: () => 1 }, failures: 0 }, id),
    })
    const found = await checkStand({ db }, driven, plain, 'x')
    assert.equal(found.events, 6)
    assert.deepEqual(
      [...found.violations].sort(),
      [
        '4 runs, and 3 have a finish',
        'r1: 2 times agent_start',
        'said already',
        'x-0: had 2 containers',
        'x-0: was finished by two workers',
        'x-1: 3 events, and the last is 4',
        'x-1: was to end as completed, and has worker_lost',
        'x-2: its run is running',
        'x-2: its run still holds a lock or a container',
        'x-3: its run is lost',
        'x-5: a run that nobody was told of',
      ].sort(),
    )
  } finally {
    await db.dropDatabase()
  }
})
