import { join } from 'node:path'
import { attestationOf } from './attestation.ts'
import { untilDone, within } from './patience.ts'
import type { OwnedRun } from './run-ownership.ts'
import { sandboxSpec } from './sandbox-spec.ts'
import type { WorkerContext } from './worker-context.ts'

/** An engine that says nothing for so long has more to do than this, milliseconds. */
const PATIENCE_MS = 60_000

const attest = async (ctx: WorkerContext, owned: OwnedRun, signal: AbortSignal): Promise<void> => {
  const { engine, config } = ctx
  const asking = untilDone(() => engine.attest(owned.run), signal)
  const facts = await within(asking, PATIENCE_MS, signal)
  if (facts === undefined) return
  const { egress, workspace_id } = owned.run
  const quota = (await ctx.disk?.quotaOf(join(config.workspacesRoot, workspace_id))) ?? { kind: 'none' as const }
  const about = { engine: engine.name, egress, quota, readAt: new Date() }
  const attestation = attestationOf(sandboxSpec(owned.run, config), facts, about)
  const gaps = attestation.checks.filter(({ ok }) => !ok)
  if (gaps.length > 0 && attestation.source !== 'none') {
    ctx.log.warn({ run_id: owned.run.run_id, gaps }, 'the container is not held as it was asked')
  }
  signal.throwIfAborted()
  await owned.update({ attestation })
}

/**
 * Reads what holds the run's container and stores it with the run, beside everything else: no run waits for it, and none fails
 * by it. A run that is over before, or that an earlier owner has seen to, is left alone. Disposing gives up.
 */
export const startAttesting = (ctx: WorkerContext, owned: OwnedRun, signal: AbortSignal): AsyncDisposable => {
  const stop = new AbortController()
  const done =
    owned.run.attestation === undefined
      ? attest(ctx, owned, AbortSignal.any([signal, stop.signal])).catch((error: unknown) => {
          if (!stop.signal.aborted) ctx.log.debug({ err: error, run_id: owned.run.run_id }, 'not attested')
        })
      : Promise.resolve()
  return {
    async [Symbol.asyncDispose]() {
      stop.abort()
      await done
    },
  }
}
