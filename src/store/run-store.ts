import type { GatewayRun, NewRun, Run, RunState, Session } from '#contracts/run.ts'
import type { RunLine } from './run-line.ts'

export type AcceptResult =
  /** `newSession`: this is the session's first run. */
  | { readonly outcome: 'accepted'; readonly run: Run; readonly newSession: boolean }
  /** The idempotency key is known with the same hash: the first answer again. */
  | { readonly outcome: 'replayed'; readonly run: Run }
  /** The idempotency key is known with another hash. */
  | { readonly outcome: 'key_reused'; readonly run: Run }
  | { readonly outcome: 'session_busy'; readonly holder: Run }
  | { readonly outcome: 'workspace_busy'; readonly holder: Run }
  | { readonly outcome: 'session_mismatch'; readonly session: Session }

/** What a compare-and-set expects: the run's `attempt`, and one of these states. */
export type Expect = { readonly attempt: number; readonly from: readonly RunState[] }

export type RunPatch = Partial<
  Pick<
    Run,
    | 'state'
    | 'attempt'
    | 'lock'
    | 'started_at'
    | 'deadline_at'
    | 'finished_at'
    | 'owner'
    | 'seen_at'
    | 'engine_id'
    | 'container_id'
    | 'container_gone'
    | 'permit'
    | 'tenant_permit'
    | 'memory_bytes'
    | 'image'
    | 'quarantine_until'
    | 'restarts'
    | 'token_hash'
    | 'egress'
    | 'attestation'
    | 'exit'
    | 'result'
  >
>

export type Page = { readonly limit: number; readonly before?: string }

/**
 * Port: run documents, and sessions as light documents beside them. The run document is the centre: stored = accepted.
 *
 * `accept`: creates the session if it is new, then one insert that takes session, workspace and idempotency key at once,
 *   each by a unique index. On any clash it looks at the idempotency key first (kept 24 h from `created_at`).
 *   A refused run leaves nothing behind, no session either. The same `run_id` again is `accepted` again: only the answer was
 *   lost. `container_gone` is true at first, because no container was asked for: a take-up that asks for one sets it to false.
 *   `stored` may be called as soon as the run is stored for good, and before the rest is done (never for a run that was refused or
 *   was there before): what does not need the rest may begin.
 * `transition`: compare-and-set; the document after it, or `undefined` when the expectation no longer holds (then the
 *   caller must stop: somebody else owns the run), or when another run holds one of the permits that the patch takes.
 * `releaseLock`: clears only the lock, whatever the state; repeatable; unknown run = nothing.
 * `blockers`: other runs of this session or workspace whose container may still exist (`container_gone` false).
 * `activeRuns`: the runs that hold these sessions, in no order, in one look for all of them.
 * `ofTokens`: the runs whose gateway tokens have these hashes, as far as they are `starting` or `running` and may have a
 *   container, in no order, in one look. A token that was replaced is nobody's.
 * `unsettled`: runs that were taken up and are not `finished`, or whose container is not gone; oldest first.
 * `touchEngine` / `engineSeen`: a worker of this engine lives; when that was said last.
 * `ping`: rejects when the store cannot be reached.
 * Pages: newest first; `before` is the id of the last one of the page before. Sessions before an unknown one: none.
 */
export interface RunStore extends RunLine {
  accept(run: NewRun, stored?: (run: Run) => void): Promise<AcceptResult>
  get(runId: string): Promise<Run | undefined>
  transition(runId: string, expect: Expect, patch: RunPatch): Promise<Run | undefined>
  releaseLock(runId: string): Promise<void>
  activeRun(tenantId: string, sessionId: string): Promise<Run | undefined>
  activeRuns(tenantId: string, sessionIds: readonly string[]): Promise<Run[]>
  latestRun(tenantId: string, sessionId: string): Promise<Run | undefined>
  listRuns(tenantId: string, sessionId: string, page: Page): Promise<Run[]>
  getSession(tenantId: string, sessionId: string): Promise<Session | undefined>
  listSessions(tenantId: string, page: Page): Promise<Session[]>
  blockers(run: Pick<Run, 'run_id' | 'tenant_id' | 'session_id' | 'workspace_id'>): Promise<Run[]>
  ofTokens(hashes: readonly string[]): Promise<GatewayRun[]>
  unsettled(limit: number): Promise<Run[]>
  touchEngine(engineId: string): Promise<void>
  engineSeen(engineId: string): Promise<Date | undefined>
  ping(): Promise<void>
}
