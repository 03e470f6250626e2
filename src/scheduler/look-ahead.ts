import type { Run } from '#contracts/run.ts'
import { sandboxSpec } from './sandbox-spec.ts'
import type { WorkerContext } from './worker-context.ts'

/** What the engine says of a run that has not begun. */
export type LookAhead = {
  /** What a slot must have been started with; `undefined`: there is no telling, nor any starting warm. */
  readonly key: string | undefined
  /** No container of another run of this session or workspace is there. */
  readonly isFree: boolean
}

/** Asked as soon as the run is ours, because the answer takes as long as what is read of the log meanwhile. Never rejects. */
export const lookAhead = async ({ engine, pool, config }: WorkerContext, run: Run): Promise<LookAhead> => {
  if (engine.warm === undefined || pool === undefined || pool.stats().ready === 0)
    return { key: undefined, isFree: false }
  const spec = sandboxSpec(run, config)
  const [key, isFree] = await Promise.all([
    engine.warm.key(spec).catch(() => undefined),
    engine.warm.isFree(spec).catch(() => false),
  ])
  return { key, isFree }
}
