import type { Run } from '#contracts/run.ts'
import { claimsOf } from './claims.ts'
import { EngineError } from './engines/engine.ts'
import { pause } from './patience.ts'
import { bringHome } from './slot-workspace.ts'
import type { WorkerContext } from './worker-context.ts'
import { closeDisk } from './workspace-disk.ts'

const POLL_MS = 100

/**
 * Brings the workspace home from slots whose containers are gone, and waits for those that are there: their removal is their
 * owner's business. False when it is in a slot of this very run whose container is there: the engine's `start` finds that one.
 * Throws `EngineError`.
 */
export const settleWorkspace = async (ctx: WorkerContext, run: Run, signal: AbortSignal): Promise<boolean> => {
  for (;;) {
    signal.throwIfAborted()
    const claims = (await ctx.claims.all()).filter((claim) => claim.workspace_id === run.workspace_id)
    let waiting = false
    for (const claim of claims) {
      // Of another engine: that this run was taken up here means that its container is gone (rules 7 and 11).
      const there = claim.engine_id === ctx.engineId && (await ctx.engine.find(claim)) !== undefined
      if (there && claim.run_id === run.run_id) return false
      if (there) waiting = true
      else await bringHome(ctx.config.workspacesRoot, claim)
    }
    if (!waiting) return true
    await pause(POLL_MS, signal)
  }
}

/** What stays mounted, the next pass of `reconcile` looks at. */
const close = async (ctx: WorkerContext, run: Run): Promise<void> => {
  try {
    await closeDisk(ctx.config.workspacesRoot, run)
  } catch (err) {
    ctx.log.warn({ err, run_id: run.run_id }, 'the disk of the workspace stays mounted')
  }
}

/** After the run's container is gone. What cannot be brought home stays where it is, and the next start says so. */
export const bringRunHome = async (ctx: WorkerContext, run: Run): Promise<void> => {
  await close(ctx, run)
  for (const claim of await claimsOf(ctx.claims, run)) {
    try {
      await bringHome(ctx.config.workspacesRoot, claim)
    } catch (error) {
      if (!(error instanceof EngineError)) throw error
      ctx.log.error({ run_id: run.run_id, workspace_id: run.workspace_id }, `${error.message}. ${error.remediation}`)
    }
  }
}
