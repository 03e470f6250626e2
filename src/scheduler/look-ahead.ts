import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Run } from '#contracts/run.ts'
import type { RunNames, WarmEngine } from './engines/warm-engine.ts'
import { sandboxSpec } from './sandbox-spec.ts'
import type { WorkerContext } from './worker-context.ts'

/** What the engine says of a run that has not begun. */
export type LookAhead = {
  /** What a slot must have been started with; `undefined`: there is no telling, nor any starting warm. */
  readonly key: string | undefined
  /** No container of another run of this session or workspace is there. */
  readonly isFree: boolean
}

const asksFree = (warm: WarmEngine, run: RunNames): Promise<boolean> => warm.isFree(run).catch(() => false)

/** What was in the way a moment ago may be gone. */
const isFreeNow = async (warm: WarmEngine, run: Run, early: Promise<boolean> | undefined): Promise<boolean> =>
  (await early) || asksFree(warm, run)

const ask = async (
  { engine: { warm }, config }: WorkerContext,
  run: Run,
  early: Promise<boolean> | undefined,
): Promise<LookAhead> => {
  if (warm === undefined) return { key: undefined, isFree: false }
  const [key, isFree] = await Promise.all([
    warm.key(sandboxSpec(run, config)).catch(() => undefined),
    isFreeNow(warm, run, early),
  ])
  return { key, isFree }
}

/** Asks the engine what a claim for this run must know. Never rejects. */
export const lookAround = (ctx: WorkerContext, run: Run): Promise<LookAhead> => ask(ctx, run, undefined)

const hasSlots = ({ pool }: WorkerContext): boolean => pool !== undefined && pool.stats().ready > 0

/**
 * What a claim must know, asked while the run is being taken up, because the answer takes as long as that. What was asked of the store
 * just before goes out first: to ask the engine takes milliseconds of this thread. `undefined` where no slot waits for a run.
 */
export const lookAhead = (ctx: WorkerContext, run: Run, early?: Promise<boolean>): Promise<LookAhead> | undefined =>
  hasSlots(ctx) ? nextTurn().then(() => ask(ctx, run, early)) : undefined

/** Its half that needs no document, asked while that is read; `undefined` where no slot waits for a run. Never rejects. */
export const askFree = (ctx: WorkerContext, run: RunNames): Promise<boolean> | undefined => {
  const { warm } = ctx.engine
  return warm && hasSlots(ctx) ? nextTurn().then(() => asksFree(warm, run)) : undefined
}
