import type { Run, RunState } from '#contracts/run.ts'

/** A run that a worker has taken up, or whose container may still be there: what limits are counted from. */
export type ActiveRun = Pick<
  Run,
  'run_id' | 'tenant_id' | 'engine_id' | 'seen_at' | 'started_at' | 'permit' | 'tenant_permit' | 'memory_bytes'
> & { readonly state: RunState }

/** Which of {@link Run}'s fields an {@link ActiveRun} has. */
export const ACTIVE_FIELDS = [
  'run_id',
  'tenant_id',
  'state',
  'engine_id',
  'seen_at',
  'started_at',
  'permit',
  'tenant_permit',
  'memory_bytes',
] as const satisfies readonly (keyof ActiveRun)[]

/** From when to when a run held its place at work: `seen_at` is when its container was gone. */
export type Ended = Pick<Run, 'run_id' | 'engine_id' | 'started_at' | 'finished_at' | 'seen_at'>

export const ENDED_FIELDS = [
  'run_id',
  'engine_id',
  'started_at',
  'finished_at',
  'seen_at',
] as const satisfies readonly (keyof Ended)[]

/** A queued run in the order of its tenant. */
export type Waiting = Pick<Run, 'run_id' | 'tenant_id'>

/**
 * Part of the port `RunStore`: the waiting line and what is at work, read from the run documents themselves, so that nothing
 * can be counted wrong after a crash. The order of a tenant's queued runs is `turn_at`, then `run_id`.
 *
 * What a take-up needs costs by the number of tenants that wait and of runs at work, never by that of runs that wait:
 * `waitingTenants`: the tenants that have queued runs, in no order.
 * `firstWaiting`: the ids of a tenant's first queued runs.
 * `active`: runs taken up and not finished, and finished ones whose container is not known to be gone.
 * `memoryHeld`: bytes that the runs have taken with them whose container on this engine is not known to be gone; `unknown` for
 *   each that says nothing.
 *
 * What overviews need costs by the number of queued runs, and is asked at intervals:
 * `countWaiting`: queued runs by tenant.
 * `line`: all queued runs, tenant by tenant, each tenant's in their order, in pieces. A run that comes or goes meanwhile
 *   may be in it or not.
 *
 * `queued`: queued runs, oldest first. `recent`: the newest runs that are finished, newest first.
 * `byKey`: the run that an idempotency key stands for.
 */
export interface RunLine {
  waitingTenants(): Promise<string[]>
  firstWaiting(tenantId: string, limit: number): Promise<string[]>
  active(): Promise<ActiveRun[]>
  memoryHeld(engineId: string, unknown: number): Promise<number>
  countWaiting(): Promise<ReadonlyMap<string, number>>
  line(): AsyncIterable<readonly Waiting[]>
  queued(limit: number): Promise<Run[]>
  recent(limit: number): Promise<Ended[]>
  byKey(tenantId: string, key: string): Promise<Run | undefined>
}
