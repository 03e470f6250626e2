import type { Run } from '#contracts/run.ts'
import { gather } from './gather.ts'
import { pause, untilDone } from './patience.ts'
import type { WorkerContext } from './worker-context.ts'

const REOPEN_MS = 500

/** What may wait in memory for one write, as large as what the store keeps as one piece. */
const WAITING_BYTES = 64 * 1024

/** Room in the log for what a container said that got no job line; the output of the one after it begins behind. Bytes. */
const RESTART_ROOM = 64 * 1024

/** Copies a container's output to the run's logs until the container is over and all of it is stored. */
export type LogPump = {
  /** Resolves when everything is stored; rejects only when disposed before. */
  readonly done: Promise<void>
} & AsyncDisposable

const copyOnce = async (ctx: WorkerContext, run: Run, signal: AbortSignal): Promise<void> => {
  let offset = run.restarts * RESTART_ROOM
  for await (const chunk of gather(ctx.engine.logs(run, signal), WAITING_BYTES)) {
    const at = offset
    await untilDone(() => ctx.store.logs.append(run.run_id, at, chunk), signal)
    offset += chunk.byteLength
  }
}

/**
 * Reads from the first byte each time it has to begin anew (an adopted run, a daemon that restarted): the store skips what
 * it knows. A stream that ends while the container still runs was cut, not finished.
 */
const copyAll = async (ctx: WorkerContext, run: Run, signal: AbortSignal): Promise<void> => {
  for (;;) {
    const ended = await copyOnce(ctx, run, signal).then(
      () => true,
      () => false,
    )
    signal.throwIfAborted()
    if (ended && !(await untilDone(() => ctx.engine.find(run), signal))?.running) return
    await pause(REOPEN_MS, signal)
  }
}

export const startLogPump = (ctx: WorkerContext, run: Run): LogPump => {
  const stop = new AbortController()
  const done = copyAll(ctx, run, stop.signal)
  done.catch(() => {})
  return {
    done,
    async [Symbol.asyncDispose]() {
      stop.abort()
      await done.catch(() => {})
    },
  }
}
