import assert from 'node:assert/strict'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { createMetrics, type Metrics } from '#main/metrics.ts'
import type { WarmPool } from '#scheduler/warm-pool.ts'
import { endQueuedRun } from '#store/ending.ts'
import { openSqliteStore } from '#store/sqlite.ts'
import type { Store } from '#store/store.ts'
import { newRunOf } from '../conformance/store-world.ts'
import { createScriptedEngine } from '../fakes/scripted-engine.ts'
import { tempDir } from '../helpers.ts'
import { parseMetrics } from './scrape.ts'

const openStore = async (t: TestContext): Promise<Store> => {
  const store = await openSqliteStore({ file: join(await tempDir(t), 'mgx.sqlite') })
  t.after(() => store[Symbol.asyncDispose]())
  return store
}

const samplesOf = async (metrics: Metrics) => parseMetrics(await metrics.text())

const LINE = ['mgx_waiting_runs', 'mgx_oldest_waiting_run_seconds']
const ENGINE_UP = 'mgx_service_up{service="engine"}'

test('the line: how many wait, and how long the oldest has', async (t) => {
  const metrics = createMetrics()
  const { runs } = metrics.store(await openStore(t))
  const created_at = new Date(Date.now() - 60_000)
  const first = newRunOf({ created_at })
  for (const run of [first, newRunOf(), newRunOf()]) await runs.accept(run)
  const samples = await samplesOf(metrics)
  assert.equal(samples.get('mgx_waiting_runs'), 3)
  const oldest = samples.get('mgx_oldest_waiting_run_seconds') ?? 0
  assert.ok(oldest >= 60, String(oldest))
  assert.equal(samples.get('mgx_runs_accepted_total'), 3)
})

test('an empty line: nobody waits, and not for long', async (t) => {
  const metrics = createMetrics()
  metrics.store(await openStore(t))
  const samples = await samplesOf(metrics)
  assert.deepEqual(
    LINE.map((name) => samples.get(name)),
    [0, 0],
  )
})

test('a run is counted once for each thing that happens to it', async (t) => {
  const metrics = createMetrics()
  const store = metrics.store(await openStore(t))
  const worked = newRunOf()
  await store.runs.accept(worked)
  assert.equal((await store.runs.accept({ ...worked, run_id: newRunOf().run_id })).outcome, 'session_busy')
  const took = { state: 'starting', attempt: 1, started_at: new Date(worked.created_at.getTime() + 2_000) } as const
  await store.runs.transition(worked.run_id, { attempt: 0, from: ['queued'] }, took)
  await store.runs.transition(worked.run_id, { attempt: 0, from: ['queued'] }, took)
  const result = {
    session_id: worked.session_id,
    run_id: worked.run_id,
    status: 'failed',
    cause: 'oom_killed',
    elapsed_seconds: 12,
  } as const
  const over = { state: 'finished', lock: false, finished_at: new Date(), result } as const
  await store.runs.transition(worked.run_id, { attempt: 1, from: ['starting'] }, over)
  await store.runs.transition(worked.run_id, { attempt: 1, from: ['starting'] }, over)
  const samples = await samplesOf(metrics)
  assert.equal(samples.get('mgx_runs_accepted_total'), 1)
  assert.equal(samples.get('mgx_run_wait_seconds_count'), 1)
  assert.equal(samples.get('mgx_run_wait_seconds_sum'), 2)
  assert.equal(samples.get('mgx_runs_ended_total{cause="oom_killed"}'), 1)
  assert.equal(samples.get('mgx_runs_ended_total{cause="completed"}'), 0)
  assert.equal(samples.get('mgx_run_duration_seconds_sum{status="failed"}'), 12)
})

test('a run that ended while it waited has an end, and neither take-up nor duration', async (t) => {
  const metrics = createMetrics()
  const store = metrics.store(await openStore(t))
  const accepted = await store.runs.accept(newRunOf())
  assert(accepted.outcome === 'accepted')
  assert.ok(await endQueuedRun(store, accepted.run, 'cancelled', 'test'))
  const samples = await samplesOf(metrics)
  assert.equal(samples.get('mgx_runs_ended_total{cause="cancelled"}'), 1)
  assert.equal(samples.get('mgx_run_wait_seconds_count'), 0)
  assert.equal(samples.get('mgx_run_duration_seconds_count{status="cancelled"}'), undefined)
  assert.equal(samples.get('mgx_events_stored_total'), await store.events.tail(accepted.run.session_id))
})

for (const [how, countWaiting] of [
  ['refuses', () => Promise.reject(new Error('away'))],
  ['never answers', () => new Promise<never>(() => {})],
] as const) {
  test(`a store that ${how}: the scrape is there, without the line`, { timeout: 60_000 }, async (t) => {
    const metrics = createMetrics()
    const store = await openStore(t)
    metrics.store({ ...store, runs: { ...store.runs, countWaiting } })
    const samples = await samplesOf(metrics)
    for (const name of LINE) assert.ok(!samples.has(name), name)
    assert.equal(samples.get('mgx_service_up{service="store"}'), 0)
    assert.equal(samples.get('mgx_build_info{version="0.1.0"}'), 1)
  })
}

test('the engine is up or away as of its last call', async () => {
  const metrics = createMetrics()
  const scripted = createScriptedEngine()
  const { engine } = metrics.engine({ engine: scripted, check: async () => {} })
  assert.ok(!(await samplesOf(metrics)).has(ENGINE_UP), 'not asked yet')
  await engine.list()
  assert.equal((await samplesOf(metrics)).get(ENGINE_UP), 1)
  scripted.goAway()
  await assert.rejects(engine.list())
  assert.equal((await samplesOf(metrics)).get(ENGINE_UP), 0)
  scripted.comeBack()
  await engine.list()
  assert.equal((await samplesOf(metrics)).get(ENGINE_UP), 1)
})

test('a worker: places, runs in hand, starts, and the pool as it says itself', async () => {
  const metrics = createMetrics()
  const stats: WarmPool['stats'] = () => ({ ready: 2, starting: 1, hits: 5, misses: { pool_empty: 3 } })
  const held = new Set(['one'])
  const pool = { stats } as WarmPool
  const meter = metrics.worker({ places: 4, atWork: () => held.size, pool })
  meter.started('warm', 0.03)
  meter.started('cold', 0.4)
  held.add('another')
  for (const time of ['first', 'second']) {
    const samples = await samplesOf(metrics)
    const figures = {
      mgx_worker_places: 4,
      mgx_worker_runs: 2,
      'mgx_run_start_seconds_count{path="warm"}': 1,
      'mgx_run_start_seconds_sum{path="cold"}': 0.4,
      'mgx_warm_pool_slots{state="ready"}': 2,
      'mgx_warm_pool_slots{state="starting"}': 1,
      mgx_warm_pool_hits_total: 5,
      'mgx_warm_pool_misses_total{reason="pool_empty"}': 3,
    }
    for (const [name, value] of Object.entries(figures)) assert.equal(samples.get(name), value, `${time}: ${name}`)
  }
})
