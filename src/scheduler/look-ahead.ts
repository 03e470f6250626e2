import type { Run } from '#contracts/run.ts'
import type { WarmEngine } from './engines/warm-engine.ts'
import { sandboxSpec } from './sandbox-spec.ts'
import type { WorkerContext } from './worker-context.ts'

/** What the engine says of a run that has not begun. */
export type LookAhead = {
  /** What a slot must have been started with; `undefined`: there is no telling, nor any starting warm. */
  readonly key: string | undefined
  /** No container of another run of this session or workspace is there. */
  readonly isFree: boolean
}

const ask = async (warm: WarmEngine, config: WorkerContext['config'], run: Run): Promise<LookAhead> => {
  const spec = sandboxSpec(run, config)
  const [key, isFree] = await Promise.all([warm.key(spec).catch(() => undefined), warm.isFree(spec).catch(() => false)])
  return { key, isFree }
}

/** Asks the engine what a claim for this run must know. Never rejects. */
export const lookAround = async ({ engine: { warm }, config }: WorkerContext, run: Run): Promise<LookAhead> =>
  warm === undefined ? { key: undefined, isFree: false } : ask(warm, config, run)

/**
 * The same while the run is being taken up, because the answer takes as long as that and what is read of the log. `undefined`
 * where no slot waits for a run.
 */
export const lookAhead = (ctx: WorkerContext, run: Run): Promise<LookAhead> | undefined =>
  ctx.pool === undefined || ctx.pool.stats().ready === 0 ? undefined : lookAround(ctx, run)
