import type { Cause } from '#contracts/causes.ts'
import { jobOf } from '#contracts/job.ts'
import type { Run } from '#contracts/run.ts'
import { beginEnding, endQueuedRun, finishRun, settleRun } from '#store/ending.ts'
import type { RunMarks } from '#store/event-log.ts'
import type { RunPatch } from '#store/run-store.ts'
import { clearSandbox, endRun, tidyRun } from './end-run.ts'
import type { SandboxInfo } from './engines/engine.ts'
import { EngineError } from './engines/engine.ts'
import { holdRun, type OwnedRun } from './run-ownership.ts'
import { sweepDisks } from './sweep-disks.ts'
import { sweepSlots } from './sweep-slots.ts'
import { isStale, takeUp } from './take-up.ts'
import { ENGINE_AWAY_TEXT, timeoutText, verdictOf } from './watch.ts'
import { OwnershipLost, type WorkerContext } from './worker-context.ts'

/** What one pass did, by kind; with the dry run, what it would have done. */
export type Reconciled = Record<
  'enqueued' | 'queue_timeout' | 'ended' | 'worker_lost' | 'removed' | 'released' | 'failed',
  string[]
>

const UNSETTLED_PAGE = 1_000

/** Waiting runs that one pass looks at: a hint does for any run, so that the oldest ones speak for all. */
const QUEUED_PAGE = 500

type Pass = {
  readonly ctx: WorkerContext
  readonly done: Reconciled
  /** Containers of this engine; `undefined` when it does not answer. */
  readonly sandboxes: ReadonlyMap<string, SandboxInfo> | undefined
}

const age = (date: Date | undefined): number => Date.now() - (date?.getTime() ?? 0)

/** Notes what is done to a run, and does it unless this is a dry run. */
const act = async (
  pass: Pass,
  kind: keyof Reconciled,
  runId: string,
  action: () => Promise<unknown>,
): Promise<void> => {
  pass.done[kind].push(runId)
  if (!pass.ctx.config.reconcileDryRun) await action()
}

/** Why a run without an owner ends, where the log does not say. */
const orphanCause = (pass: Pass, run: Run, lost: boolean): [Cause, string] => {
  if (lost) return ['container_lost', 'The container is gone, and so is the worker that watched it']
  if (pass.sandboxes === undefined) return ['engine_unavailable', ENGINE_AWAY_TEXT]
  return ['timeout', timeoutText(pass.ctx, run)]
}

/** Takes a run up from a dead owner and ends it here: needs no worker slot, because all slots may wait for this very run. */
const endOrphan = async (pass: Pass, run: Run, lost: boolean): Promise<void> => {
  const { ctx } = pass
  if (ctx.held.has(run.run_id)) return
  ctx.held.add(run.run_id)
  try {
    const taken = await takeUp(ctx, run.run_id)
    if (taken.kind === 'not') return
    await using owned = holdRun(ctx, taken.run)
    const verdict = verdictOf(await ctx.store.events.marks(run.session_id, run.run_id))
    if (verdict?.kind === 'finish') await tidyRun(ctx, owned, verdict.finish)
    else if (verdict?.kind === 'end') await endRun(ctx, owned, verdict.cause, verdict.error)
    else await endRun(ctx, owned, ...orphanCause(pass, run, lost))
  } finally {
    ctx.held.delete(run.run_id)
  }
}

/** A run on an engine whose workers are all gone: ended in the log; its container may live on, so the workspace is closed for a while. */
const endLostEngine = async (ctx: WorkerContext, run: Run): Promise<void> => {
  const taken = await ctx.store.runs.transition(
    run.run_id,
    { attempt: run.attempt, from: [run.state] },
    {
      attempt: run.attempt + 1,
      owner: ctx.owner,
      seen_at: new Date(),
      quarantine_until: new Date(Date.now() + ctx.config.timings.quarantine),
    },
  )
  if (taken === undefined) return
  const { events } = ctx.store
  await beginEnding(events, taken, 'worker_lost', 'No worker of the engine that runs the container is left')
  await settleRun(ctx.store, taken, await finishRun(events, taken))
}

const isEngineLost = async (ctx: WorkerContext, run: Run): Promise<boolean> => {
  const { engine_id: id, seen_at } = run
  if (id === undefined || id === ctx.engineId) return false
  const { engineLost } = ctx.config.timings
  return age(seen_at) > engineLost && age(await ctx.store.runs.engineSeen(id)) > engineLost
}

/** A hint and no more: the prompt stays in the document. */
const enqueue = (pass: Pass, run: Run): Promise<void> =>
  act(pass, 'enqueued', run.run_id, () => pass.ctx.queue.enqueue(jobOf(run)))

/**
 * What a run of this engine needs whose owner is silent: its end, or else a job. `gone`: an agent began, and its container
 * is not there.
 */
export const orphanNeeds = (
  run: Pick<Run, 'run_id' | 'deadline_at'>,
  marks: RunMarks,
  sandboxes: { has(runId: string): boolean } | undefined,
  now: Date,
): { readonly gone: boolean; readonly end: boolean } => {
  const gone = sandboxes !== undefined && !sandboxes.has(run.run_id) && marks.agentStart !== undefined
  const late = run.deadline_at !== undefined && run.deadline_at.getTime() < now.getTime()
  return { gone, end: verdictOf(marks) !== undefined || gone || late }
}

const reconcileLive = async (pass: Pass, run: Run): Promise<void> => {
  const { ctx, sandboxes } = pass
  if (ctx.held.has(run.run_id) || !isStale(ctx, run)) return
  if (run.engine_id !== ctx.engineId) {
    if (await isEngineLost(ctx, run)) await act(pass, 'worker_lost', run.run_id, () => endLostEngine(ctx, run))
    return
  }
  const marks = await ctx.store.events.marks(run.session_id, run.run_id)
  const { gone, end } = orphanNeeds(run, marks, sandboxes, new Date())
  if (end) await act(pass, 'ended', run.run_id, () => endOrphan(pass, run, gone))
  else await enqueue(pass, run)
}

/** A run that no engine knows of: it waits for a worker, or was taken up only to be ended by somebody who then died. */
const reconcileUnserved = async (pass: Pass, run: Run): Promise<void> => {
  const { ctx } = pass
  if (run.state !== 'queued' && !isStale(ctx, run)) return
  if (run.queue_deadline_at.getTime() < Date.now()) {
    const error = 'No worker took the run up in time'
    await act(pass, 'queue_timeout', run.run_id, () => endQueuedRun(ctx.store, run, 'queue_timeout', ctx.owner, error))
    return
  }
  if (age(run.created_at) < ctx.config.timings.reconcileGrace) return
  const verdict = verdictOf(await ctx.store.events.marks(run.session_id, run.run_id))
  if (verdict === undefined) return enqueue(pass, run)
  const cause = verdict.kind === 'end' ? verdict.cause : 'worker_lost'
  await act(pass, 'ended', run.run_id, () => endQueuedRun(ctx.store, run, cause, ctx.owner))
}

/** Closes the workspace of a container that another engine owed and can no more remove; opens it when that time is over. */
const releaseOwed = async (pass: Pass, run: Run, update: OwnedRun['update']): Promise<void> => {
  const { ctx } = pass
  if (run.quarantine_until === undefined) {
    if (!(await isEngineLost(ctx, run))) return
    const quarantine_until = new Date(Date.now() + ctx.config.timings.quarantine)
    await act(pass, 'worker_lost', run.run_id, () => update({ quarantine_until }))
  } else if (run.quarantine_until.getTime() < Date.now()) {
    await act(pass, 'released', run.run_id, () => update({ container_gone: true }))
  }
}

/** A finished run whose container's removal is owed. */
const reconcileOwed = async (pass: Pass, run: Run): Promise<void> => {
  const { ctx } = pass
  const update = async (patch: RunPatch) => {
    const after = await ctx.store.runs.transition(run.run_id, { attempt: run.attempt, from: ['finished'] }, patch)
    if (after === undefined) throw new OwnershipLost(run.run_id)
    return after
  }
  if (run.engine_id !== ctx.engineId) return releaseOwed(pass, run, update)
  if (pass.sandboxes === undefined || age(run.seen_at) < ctx.config.timings.reconcileGrace) return
  const { enginePatience, stopGrace } = ctx.config.timings
  const signal = AbortSignal.timeout(4 * (enginePatience + stopGrace))
  await act(pass, 'removed', run.run_id, () => clearSandbox(ctx, run, update, undefined, signal))
}

/** True when no container of this run may be there any more. */
export const owesNothing = (run: Run | undefined): boolean =>
  run === undefined || (run.state === 'finished' && run.container_gone)

/** Containers of this installation that belong to no run, or to one that owes nothing any more. */
const removeStray = async (pass: Pass, info: SandboxInfo): Promise<void> => {
  const { ctx } = pass
  if (age(info.createdAt) < ctx.config.timings.reconcileGrace || ctx.held.has(info.run_id)) return
  const run = await ctx.store.runs.get(info.run_id)
  if (!owesNothing(run)) return
  await act(pass, 'removed', info.run_id, () => ctx.engine.remove(info, info.containerId))
}

const listSandboxes = async (ctx: WorkerContext): Promise<ReadonlyMap<string, SandboxInfo> | undefined> => {
  try {
    return new Map((await ctx.engine.list()).map((info) => [info.run_id, info]))
  } catch (error) {
    if (error instanceof EngineError) return undefined
    throw error
  }
}

const sweep = async (ctx: WorkerContext): Promise<string[]> => {
  try {
    return [...(await sweepSlots(ctx)), ...(await sweepDisks(ctx))]
  } catch (error) {
    ctx.log.warn({ err: error }, 'reconcile could not look after slots and mounts; the next pass tries again')
    return []
  }
}

const reconcileRun = (pass: Pass, run: Run): Promise<void> => {
  if (run.state === 'finished') return reconcileOwed(pass, run)
  return run.engine_id === undefined ? reconcileUnserved(pass, run) : reconcileLive(pass, run)
}

/**
 * Compares what should be with what is, and mends it: enqueues what has no job, ends what is lost or late or whose `finish`
 * waits for an owner that died, removes what nobody owns. Each after a grace. Needs no worker slot, and may run in
 * every worker at once: every step is a compare-and-set. A run that cannot be mended now is left for the next pass.
 */
export const reconcile = async (ctx: WorkerContext): Promise<Reconciled> => {
  const done: Reconciled = {
    enqueued: [],
    queue_timeout: [],
    ended: [],
    worker_lost: [],
    removed: [],
    released: [],
    failed: [],
  }
  await ctx.store.runs.touchEngine(ctx.engineId)
  // Runs are read after containers: a container whose run is younger than this list cannot be missed by it.
  const sandboxes = await listSandboxes(ctx)
  const pass: Pass = { ctx, done, sandboxes }
  const mend = async (runId: string, work: () => Promise<void>) => {
    try {
      await work()
    } catch (error) {
      done.failed.push(runId)
      ctx.log.warn({ err: error, run_id: runId }, 'reconcile could not mend this run; the next pass tries again')
    }
  }
  const { runs: store } = ctx.store
  const runs = (await Promise.all([store.unsettled(UNSETTLED_PAGE), store.queued(QUEUED_PAGE)])).flat()
  await Promise.all(runs.map((run) => mend(run.run_id, () => reconcileRun(pass, run))))
  const known = new Set(runs.map((run) => run.run_id))
  for (const info of sandboxes?.values() ?? []) {
    if (!known.has(info.run_id)) await mend(info.run_id, () => removeStray(pass, info))
  }
  if (!ctx.config.reconcileDryRun) done.removed.push(...(await sweep(ctx)))
  return done
}
