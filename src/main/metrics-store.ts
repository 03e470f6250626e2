import { Counter, Histogram, type Registry } from '@prometheus-io/client'
import { CAUSE_NAMES } from '#contracts/causes.ts'
import type { EventLog } from '#store/event-log.ts'
import type { RunStore } from '#store/run-store.ts'
import type { Store } from '#store/store.ts'

/** Seconds: an idle worker takes a run up in milliseconds; QUEUE_TIMEOUT_SECONDS is an hour. */
const WAIT_BUCKETS = [0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3_600]

/** Seconds: up to AGENT_TASK_TIMEOUT_SECONDS, and beyond. */
const RUN_BUCKETS = [1, 5, 15, 30, 60, 120, 300, 600, 1_200, 1_800, 3_600]

const createCounts = (registry: Registry) => {
  const registers = [registry]
  const ended = new Counter({
    name: 'mgx_runs_ended_total',
    help: 'Runs that this process brought to their end, by cause.',
    labelNames: ['cause'],
    registers,
  })
  // From the beginning: Prometheus does not see a counter rise that was not there before.
  for (const cause of CAUSE_NAMES) ended.inc({ cause }, 0)
  return {
    ended,
    accepted: new Counter({ name: 'mgx_runs_accepted_total', help: 'Runs that were accepted.', registers }),
    wait: new Histogram({
      name: 'mgx_run_wait_seconds',
      help: 'From the acceptance of a run to its first take-up by a worker.',
      buckets: WAIT_BUCKETS,
      registers,
    }),
    duration: new Histogram({
      name: 'mgx_run_duration_seconds',
      help: 'From the first take-up of a run to its finish, by status.',
      labelNames: ['status'],
      buckets: RUN_BUCKETS,
      registers,
    }),
    events: new Counter({
      name: 'mgx_events_stored_total',
      help: 'Events that this process stored: its own, and those that came through its gateway.',
      registers,
    }),
  }
}

type Counts = ReturnType<typeof createCounts>

/**
 * What happens to a run is a compare-and-set that one process wins, so that over all processes each run is counted once,
 * whoever accepts, takes up or ends it.
 */
const meterRuns = (runs: RunStore, { accepted, wait, ended, duration }: Counts): RunStore => ({
  ...runs,
  async accept(...asked) {
    const result = await runs.accept(...asked)
    if (result.outcome === 'accepted') accepted.inc()
    return result
  },
  async transition(...asked) {
    const run = await runs.transition(...asked)
    if (run === undefined) return undefined
    const [, , patch] = asked
    if (patch.started_at !== undefined) wait.observe((patch.started_at.getTime() - run.created_at.getTime()) / 1000)
    if (patch.state === 'finished' && patch.result !== undefined) {
      ended.inc({ cause: patch.result.cause })
      // One that nobody took up has only waited.
      if (run.started_at !== undefined) duration.observe({ status: patch.result.status }, patch.result.elapsed_seconds)
    }
    return run
  },
})

const meterEvents = (log: EventLog, { events }: Counts): EventLog => ({
  ...log,
  async append(...sent) {
    const result = await log.append(...sent)
    if (result.outcome === 'stored') events.inc(result.seqs.length)
    return result
  },
})

/** The same store; what goes through it is counted. */
export const meterStore = (registry: Registry, store: Store): Store => {
  const counts = createCounts(registry)
  return { ...store, runs: meterRuns(store.runs, counts), events: meterEvents(store.events, counts) }
}
