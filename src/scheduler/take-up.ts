import type { Run } from '#contracts/run.ts'
import type { JobOutcome } from '#queue/job-queue.ts'
import type { RunMarks } from '#store/event-log.ts'
import type { RunPatch } from '#store/run-store.ts'
import { chooseImage } from './choose-image.ts'
import { type LookAhead, lookAhead } from './look-ahead.ts'
import { runEgress } from './run-egress.ts'
import { newToken, tokenHash } from './run-token.ts'
import { refusesTakeUp, takeUpPatch, waitForBlockers } from './take-up-rules.ts'
import type { WorkerContext } from './worker-context.ts'

/** Of a first take-up: the run's gateway token, whose hash is in the document, what a claim must know, and what the log says. */
export type FirstTakeUp = {
  readonly token?: string
  readonly ahead?: Promise<LookAhead> | undefined
  readonly marks?: Promise<RunMarks>
}

export type TakeUp =
  | ({ readonly kind: 'taken'; readonly run: Run } & FirstTakeUp)
  /** `raced`: another one was quicker with this run, or with a permit. */
  | { readonly kind: 'not'; readonly outcome: JobOutcome; readonly raced?: true }

const not = (outcome: JobOutcome): TakeUp => ({ kind: 'not', outcome })
const later = (delayMs: number): TakeUp => not({ kind: 'later', delayMs })

/** True when the owner of a run has been silent for too long. */
export const isStale = (ctx: WorkerContext, run: Pick<Run, 'seen_at'>): boolean =>
  Date.now() - (run.seen_at?.getTime() ?? 0) > ctx.config.timings.stale

/**
 * Makes this worker the owner of a run, if it may be: the run is queued, or its owner is dead and its container is on this
 * worker's engine. One compare-and-set on the attempt; who fails it has nothing to do with the run.
 * @param take what a queued run takes with it, where there are limits
 */
export const takeUp = async (ctx: WorkerContext, runId: string, take: RunPatch = {}): Promise<TakeUp> =>
  takeUpRun(ctx, await ctx.store.runs.get(runId), take)

/**
 * What the log says, asked while the run is being taken up: whatever is written later is behind the place from which it is
 * followed. Who awaits it meets a failure and asks again.
 */
const marksAhead = ({ store: { events } }: WorkerContext, { session_id, run_id }: Run): Promise<RunMarks> => {
  const marks = events.marks(session_id, run_id)
  marks.catch(() => {})
  return marks
}

/** What was asked of store and engine before the run's document was there. */
export type Asked = {
  readonly blockers?: Promise<readonly Run[]>
  readonly isFree?: Promise<boolean> | undefined
}

/** The same for a document that was just read. */
export const takeUpRun = async (
  ctx: WorkerContext,
  run: Run | undefined,
  take: RunPatch = {},
  asked: Asked = {},
): Promise<TakeUp> => {
  const { runs } = ctx.store
  const { heartbeat } = ctx.config.timings
  if (run === undefined) return not({ kind: 'done' })
  const refusal = refusesTakeUp(run, ctx.engineId, isStale(ctx, run))
  if (refusal === 'over') return not({ kind: 'done', ...(run.result && { result: run.result }) })
  if (refusal !== undefined) return later(heartbeat)
  const image = ctx.engine.sharesPaths ? {} : { image: chooseImage(run, ctx.config) }
  if (run.engine_id === undefined) {
    const wait = waitForBlockers(await (asked.blockers ?? runs.blockers(run)), ctx.engineId, new Date(), heartbeat)
    if (wait > 0) return later(wait)
  }
  const taker = {
    owner: ctx.owner,
    engineId: ctx.engineId,
    now: new Date(),
    taskTimeoutSeconds: ctx.config.taskTimeoutSeconds,
  }
  const egress = runEgress(run, ctx.config, ctx.engine)
  const isFirst = run.state === 'queued'
  const token = isFirst ? newToken() : undefined
  const own = takeUpPatch(run, taker, token && tokenHash(token))
  const patch = { ...own, egress, ...(isFirst && { ...image, ...take }) }
  const taking = runs.transition(run.run_id, { attempt: run.attempt, from: [run.state] }, patch)
  // While that is being stored.
  const first = token && {
    token,
    marks: marksAhead(ctx, run),
    ahead: lookAhead(ctx, { ...run, ...image }, asked.isFree),
  }
  const taken = await taking
  if (taken === undefined) return { kind: 'not', outcome: { kind: 'later', delayMs: heartbeat }, raced: true }
  return { kind: 'taken', run: taken, ...first }
}
