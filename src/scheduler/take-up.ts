import type { Run } from '#contracts/run.ts'
import type { JobOutcome } from '#queue/job-queue.ts'
import type { RunPatch } from '#store/run-store.ts'
import { newToken, tokenHash } from './run-token.ts'
import type { WorkerContext } from './worker-context.ts'

export type TakeUp =
  /** `token`: the run's gateway token, when this is the first take-up; its hash is in the document. */
  | { readonly kind: 'taken'; readonly run: Run; readonly token?: string }
  | { readonly kind: 'not'; readonly outcome: JobOutcome }

const not = (outcome: JobOutcome): TakeUp => ({ kind: 'not', outcome })
const later = (delayMs: number): TakeUp => not({ kind: 'later', delayMs })

/** True when the owner of a run has been silent for too long. */
export const isStale = (ctx: WorkerContext, run: Run): boolean =>
  Date.now() - (run.seen_at?.getTime() ?? 0) > ctx.config.timings.stale

/** How long this run must wait for others of its session or workspace: 0 = not at all. */
const mustWait = async (ctx: WorkerContext, run: Run): Promise<number> => {
  const blockers = await ctx.store.runs.blockers(run)
  if (blockers.some((b) => b.engine_id !== undefined && b.engine_id !== ctx.engineId))
    return ctx.config.timings.heartbeat
  const until = Math.max(0, ...blockers.map((b) => b.quarantine_until?.getTime() ?? 0))
  // No longer than a heartbeat at once: the blocker may be cleared away long before.
  return Math.min(Math.max(0, until - Date.now()), ctx.config.timings.heartbeat)
}

/** The deadline is absolute, counted from the first take-up. */
const takeUpPatch = (ctx: WorkerContext, run: Run, token: string | undefined): RunPatch => {
  const now = new Date()
  const timeout = run.options.timeout_seconds ?? ctx.config.taskTimeoutSeconds
  return {
    attempt: run.attempt + 1,
    owner: ctx.owner,
    seen_at: now,
    engine_id: ctx.engineId,
    ...(run.state === 'queued' && { state: 'starting' }),
    // Also for a run that somebody took up only to end it, and died: from here on it may have a container.
    ...(run.engine_id === undefined && { container_gone: false }),
    ...(token !== undefined && { token_hash: tokenHash(token) }),
    ...(run.deadline_at === undefined && { started_at: now, deadline_at: new Date(now.getTime() + timeout * 1000) }),
  }
}

/**
 * Makes this worker the owner of a run, if it may be: the run is queued, or its owner is dead and its container is on this
 * worker's engine. One compare-and-set on the attempt; who fails it has nothing to do with the run.
 */
export const takeUp = async (ctx: WorkerContext, runId: string): Promise<TakeUp> => {
  const { runs } = ctx.store
  const run = await runs.get(runId)
  if (run === undefined) return not({ kind: 'done' })
  if (run.state === 'finished') return not({ kind: 'done', ...(run.result && { result: run.result }) })
  if (run.engine_id !== undefined && run.engine_id !== ctx.engineId) return later(ctx.config.timings.heartbeat)
  if (run.state !== 'queued' && !isStale(ctx, run)) return later(ctx.config.timings.heartbeat)
  if (run.engine_id === undefined) {
    const wait = await mustWait(ctx, run)
    if (wait > 0) return later(wait)
  }
  const token = run.state === 'queued' ? newToken() : undefined
  const taken = await runs.transition(runId, { attempt: run.attempt, from: [run.state] }, takeUpPatch(ctx, run, token))
  if (taken === undefined) return later(ctx.config.timings.heartbeat)
  return { kind: 'taken', run: taken, ...(token !== undefined && { token }) }
}
