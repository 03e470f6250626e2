import type { Run, SandboxExit } from '#contracts/run.ts'
import type { RunPatch } from '#store/run-store.ts'

/** Who takes up, and when. */
export type Taker = {
  readonly owner: string
  readonly engineId: string
  readonly now: Date
  /** Seconds a run may take that asked for nothing else. */
  readonly taskTimeoutSeconds: number
}

/**
 * What is written once nothing of a run's container is left at the engine. A container that had begun and vanished without
 * proof of its death may still be at work somewhere, so its workspace stays closed for longer than a runner lives that
 * cannot store (rule 11). An exit that was stored before is a proof.
 */
export const afterRemoval = (run: Run, exit: SandboxExit, now: Date, quarantineMs: number): RunPatch => {
  const mayLive = exit.unproven === true && run.exit === undefined && run.container_id !== undefined
  if (!mayLive) return { container_gone: true }
  if (run.quarantine_until === undefined) return { quarantine_until: new Date(now.getTime() + quarantineMs) }
  return run.quarantine_until > now ? {} : { container_gone: true }
}

/**
 * What the document alone says against a take-up on `engineId`, or `undefined`. A run belongs to the engine that took it up
 * and to its owner, until that one has been silent for too long (`stale`).
 */
export const refusesTakeUp = (
  run: Run,
  engineId: string,
  stale: boolean,
): 'over' | 'elsewhere' | 'owned' | undefined => {
  if (run.state === 'finished') return 'over'
  if (run.engine_id !== undefined && run.engine_id !== engineId) return 'elsewhere'
  return run.state !== 'queued' && !stale ? 'owned' : undefined
}

/**
 * How long a run that no engine knows must wait for others of its session or workspace, milliseconds; 0 = not at all. Those
 * on this engine are no reason: `start` waits for their containers. Never longer than `longest` at once: the blocker may
 * be cleared away long before.
 */
export const waitForBlockers = (blockers: readonly Run[], engineId: string, now: Date, longest: number): number => {
  if (blockers.some((b) => b.engine_id !== undefined && b.engine_id !== engineId)) return longest
  const until = Math.max(0, ...blockers.map((b) => b.quarantine_until?.getTime() ?? 0))
  return Math.min(Math.max(0, until - now.getTime()), longest)
}

/** What a take-up writes. The deadline is absolute, counted from the first take-up. */
export const takeUpPatch = (run: Run, taker: Taker, tokenHash: string | undefined): RunPatch => {
  const { owner, engineId, now } = taker
  const timeout = run.options.timeout_seconds ?? taker.taskTimeoutSeconds
  return {
    attempt: run.attempt + 1,
    owner,
    seen_at: now,
    engine_id: engineId,
    ...(run.state === 'queued' && { state: 'starting' }),
    // Also for a run that somebody took up only to end it, and died: from here on it may have a container.
    ...(run.engine_id === undefined && { container_gone: false }),
    ...(tokenHash !== undefined && { token_hash: tokenHash }),
    ...(run.deadline_at === undefined && { started_at: now, deadline_at: new Date(now.getTime() + timeout * 1000) }),
  }
}
