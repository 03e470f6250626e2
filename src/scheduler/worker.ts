import { within } from './patience.ts'
import { placesOf } from './places.ts'
import { reconcile } from './reconcile.ts'
import { createRunHandler } from './run-session.ts'
import type { WorkerContext } from './worker-context.ts'

const report = async (ctx: WorkerContext): Promise<void> => {
  try {
    const done = await reconcile(ctx)
    const said = Object.fromEntries(Object.entries(done).filter(([, runs]) => runs.length > 0))
    const dryRun = ctx.config.reconcileDryRun
    if (Object.keys(said).length > 0) ctx.log.info({ ...said, dry_run: dryRun }, 'reconciled')
  } catch (error) {
    ctx.log.warn({ err: error }, 'reconcile failed; the next pass tries again')
  }
}

/** One pass now, then one after each pause; never two at once. */
const startReconciling = (ctx: WorkerContext): AsyncDisposable => {
  let timer: NodeJS.Timeout | undefined
  let stopped = false
  let pass: Promise<void> = Promise.resolve()
  const next = () => {
    pass = report(ctx).then(() => {
      if (!stopped) timer = setTimeout(next, ctx.config.timings.reconcile)
    })
  }
  next()
  return {
    async [Symbol.asyncDispose]() {
      stopped = true
      clearTimeout(timer)
      // A pass that waits for an outage to end is left alone: what it does can be done twice.
      await within(pass, ctx.config.timings.stopGrace, new AbortController().signal)
    },
  }
}

/**
 * Consumes jobs and reconciles until disposed. Disposing takes nothing new, hands the runs back and leaves their containers
 * running for the next worker.
 */
export const startWorker = (ctx: WorkerContext): AsyncDisposable => {
  const stack = new AsyncDisposableStack()
  stack.use(startReconciling(ctx))
  stack.use(ctx.queue.consume(createRunHandler(ctx), { concurrency: placesOf(ctx.config) }))
  return stack
}
