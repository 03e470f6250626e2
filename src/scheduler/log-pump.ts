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

/**
 * More than fits between a daemon and its reader: Docker 20.10 was seen to drop what a slow follower had not taken when the
 * container left, and to end the stream as if it were whole. Bytes.
 */
const MAY_BE_CUT_BYTES = 64 * 1024

/** @returns how many bytes there were */
const copyOnce = async (ctx: WorkerContext, run: Run, signal: AbortSignal): Promise<number> => {
  const begin = run.restarts * RESTART_ROOM
  let offset = begin
  for await (const chunk of gather(ctx.engine.logs(run, signal), WAITING_BYTES)) {
    const at = offset
    await untilDone(() => ctx.store.logs.append(run.run_id, at, chunk), signal)
    offset += chunk.byteLength
  }
  return offset - begin
}

/**
 * Reads from the first byte each time it has to begin anew (an adopted run, a daemon that restarted): the store skips what
 * it knows. A stream that ends while the container still runs was cut, not finished. Long output that was followed to the
 * container's end is read once more now that nothing can come.
 */
const copyAll = async (ctx: WorkerContext, run: Run, signal: AbortSignal): Promise<void> => {
  let isRunning = true
  for (;;) {
    const wasRunning = isRunning
    const bytes = await copyOnce(ctx, run, signal).catch(() => undefined)
    signal.throwIfAborted()
    isRunning = (await untilDone(() => ctx.engine.find(run), signal))?.running ?? false
    if (bytes !== undefined && !isRunning && (!wasRunning || bytes < MAY_BE_CUT_BYTES)) return
    if (isRunning || bytes === undefined) await pause(REOPEN_MS, signal)
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
