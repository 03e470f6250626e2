import { Counter, Gauge, Histogram, type Registry } from '@prometheus-io/client'
import type { GatewayMeter } from '#scheduler/gateway-meter.ts'
import type { WarmPool } from '#scheduler/warm-pool.ts'
import type { WorkerMeter } from '#scheduler/worker-context.ts'

/** Seconds: a warm start takes some 30 ms, a cold one some 300 ms, a pod that pulls its image minutes. */
const START_BUCKETS = [0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300]

/** What a worker is asked at each scrape. */
export type WorkerFigures = {
  readonly places: number
  readonly atWork: () => number
  readonly pool?: WarmPool
}

const measurePool = (registry: Registry, { stats }: WarmPool): void => {
  const registers = [registry]
  const slots: Gauge<'state'> = new Gauge({
    name: 'mgx_warm_pool_slots',
    help: 'Containers that wait for a run (ready), or are being started for that (starting).',
    labelNames: ['state'],
    registers,
    collect() {
      const { ready, starting } = stats()
      slots.set({ state: 'ready' }, ready)
      slots.set({ state: 'starting' }, starting)
    },
  })
  const hits: Counter = new Counter({
    name: 'mgx_warm_pool_hits_total',
    help: 'Runs that began in a container that was started ahead.',
    registers,
    collect() {
      hits.reset()
      hits.inc(stats().hits)
    },
  })
  const misses: Counter<'reason'> = new Counter({
    name: 'mgx_warm_pool_misses_total',
    help: 'Runs that began cold although there is a pool, by reason.',
    labelNames: ['reason'],
    registers,
    collect() {
      misses.reset()
      for (const [reason, n] of Object.entries(stats().misses)) misses.inc({ reason }, n)
    },
  })
}

export const createWorkerMeter = (registry: Registry, { places, atWork, pool }: WorkerFigures): WorkerMeter => {
  const registers = [registry]
  new Gauge({ name: 'mgx_worker_places', help: 'Runs that this worker works on at most.', registers }).set(places)
  const runs: Gauge = new Gauge({
    name: 'mgx_worker_runs',
    help: 'Runs that this worker has in hand.',
    registers,
    collect: () => runs.set(atWork()),
  })
  const starts = new Histogram({
    name: 'mgx_run_start_seconds',
    help: 'From the first take-up of a run to its container, warm or cold.',
    labelNames: ['path'],
    buckets: START_BUCKETS,
    registers,
  })
  if (pool) measurePool(registry, pool)
  return { started: (path, seconds) => starts.observe({ path }, seconds) }
}

export const createGatewayMeter = (registry: Registry): GatewayMeter => {
  const requests = new Counter({
    name: 'mgx_gateway_requests_total',
    help: 'What runners asked of the gateway: events stored or read, the model; by status of the answer.',
    labelNames: ['kind', 'status'],
    registers: [registry],
  })
  return { answered: (kind, status) => requests.inc({ kind, status }) }
}
