import { rm } from 'node:fs/promises'
import type { Cause } from '#contracts/causes.ts'
import type { SessionEventOf } from '#contracts/events.ts'
import type { Run, SandboxExit } from '#contracts/run.ts'
import type { JobOutcome } from '#queue/job-queue.ts'
import { beginEnding, finishRun, settleRun } from '#store/ending.ts'
import { type LogPump, startLogPump } from './log-pump.ts'
import { untilDone, within } from './patience.ts'
import type { OwnedRun } from './run-ownership.ts'
import { bringRunHome } from './settle-workspace.ts'
import { gatewayDir } from './slot-paths.ts'
import { afterRemoval } from './take-up-rules.ts'
import { OwnershipLost, type WorkerContext } from './worker-context.ts'

/** How long the last output of a container that is over may take to be copied, milliseconds. */
const DRAIN_MS = 10_000

/**
 * The engine's answer, or `undefined` when it gave none in all its patience: whatever ails it, an ending goes on without it.
 * A call that hangs is given up like one that fails.
 */
const asked = async <T>(
  ctx: WorkerContext,
  call: (signal: AbortSignal) => Promise<T>,
  signal: AbortSignal,
): Promise<T | undefined> => {
  const { enginePatience, stopGrace } = ctx.config.timings
  const scope = new AbortController()
  const inner = AbortSignal.any([signal, scope.signal])
  const work = untilDone(
    () => call(inner),
    inner,
    (error) => ctx.log.warn({ err: error }, 'the engine cannot end a container; asking again'),
  )
  try {
    return await within(work, enginePatience + stopGrace, signal)
  } finally {
    scope.abort()
  }
}

const stopped = (ctx: WorkerContext, run: Run, signal: AbortSignal): Promise<SandboxExit | undefined> =>
  asked(
    ctx,
    async (inner) => {
      await ctx.engine.stop(run, ctx.config.timings.stopGrace)
      return ctx.engine.wait(run, inner)
    },
    signal,
  )

/** A runner that has written its `finish` may leave by itself; one that does not is stopped. */
const leave = async (ctx: WorkerContext, run: Run, signal: AbortSignal): Promise<SandboxExit | undefined> => {
  const scope = new AbortController()
  const waiting = ctx.engine.wait(run, AbortSignal.any([signal, scope.signal])).catch(() => undefined)
  const exit = await within(waiting, ctx.config.timings.exitGrace, signal)
  scope.abort()
  return exit ?? stopped(ctx, run, signal)
}

const drain = async (ctx: WorkerContext, run: Run, pump: LogPump | undefined, signal: AbortSignal): Promise<void> => {
  await using late = pump === undefined ? startLogPump(ctx, run) : undefined
  const done = pump?.done ?? late?.done ?? Promise.resolve()
  await within(
    done.catch(() => {}),
    DRAIN_MS,
    signal,
  )
}

/**
 * What is left of a run's container: its exit facts and logs are kept, then it is removed. An engine that stays away
 * leaves the removal owed (`container_gone` false): `reconcile` does it, and until then nothing starts beside it. So does one that
 * was lost without proof of its death, for the quarantine.
 */
export const clearSandbox = async (
  ctx: WorkerContext,
  run: Run,
  update: OwnedRun['update'],
  pump: LogPump | undefined,
  signal: AbortSignal,
): Promise<void> => {
  const exit = await leave(ctx, run, signal)
  if (exit !== undefined) {
    if (exit.reason !== 'lost') await update({ exit })
    await drain(ctx, run, pump, signal)
  }
  const removed = exit && (await asked(ctx, () => ctx.engine.remove(run).then(() => true), signal))
  if (exit === undefined || removed === undefined) {
    ctx.log.warn({ run_id: run.run_id }, 'the engine does not answer: the removal of the container stays owed')
    return
  }
  // Also where the copying was cut short: who follows the log must see its end.
  await untilDone(() => ctx.store.logs.complete(run.run_id), signal)
  // Not before the container is gone: they are mounted there.
  await bringRunHome(ctx, run)
  await rm(gatewayDir(ctx.config.workspacesRoot, run.run_id), { recursive: true, force: true }).catch(() => {})
  await update(afterRemoval(run, exit, new Date(), ctx.config.timings.quarantine))
}

/** The second half of every ending: `finish` is in the log, whoever wrote it. */
export const tidyRun = async (
  ctx: WorkerContext,
  owned: OwnedRun,
  finish: SessionEventOf<'finish'>,
  pump?: LogPump,
): Promise<JobOutcome> => {
  await clearSandbox(ctx, owned.run, owned.update, pump, owned.lost)
  const settled = await untilDone(() => settleRun(ctx.store, owned.run, finish), owned.lost)
  if (settled === undefined) throw new OwnershipLost(owned.run.run_id)
  const { result } = settled
  ctx.log.info({ run_id: settled.run_id, session_id: settled.session_id, ...result }, 'run finished')
  return { kind: 'done', ...(result && { result }) }
}

/** The ending: `stopping` in the log → stop → closings → `finish` → facts and logs → removal → document. */
export const endRun = async (
  ctx: WorkerContext,
  owned: OwnedRun,
  cause: Cause,
  error?: string,
  pump?: LogPump,
): Promise<JobOutcome> => {
  const { events } = ctx.store
  // An owner that slept must not fix the cause of a run that another one has taken up meanwhile.
  await owned.update({})
  await untilDone(() => beginEnding(events, owned.run, cause, error), owned.lost)
  const exit = await stopped(ctx, owned.run, owned.lost)
  const finish = await untilDone(() => finishRun(events, owned.run, exit?.code), owned.lost)
  return tidyRun(ctx, owned, finish, pump)
}
