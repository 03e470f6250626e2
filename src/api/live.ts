import type { ServerResponse } from 'node:http'
import { finished } from 'node:stream/promises'
import type { FastifyInstance, FastifyReply } from 'fastify'

/** How long a closing server waits for a client that does not read, milliseconds. */
const CLOSE_GRACE_MS = 1_000

/** A response that stays open for as long as there is something to say. */
export type LiveResponse = {
  readonly raw: ServerResponse
  /** Aborts when the client has left or the server is closing. */
  readonly signal: AbortSignal
  /** Resolves when the client can take more, or when `signal` aborts. */
  write(chunk: string | Uint8Array): Promise<void>
}

export type LiveResponses = {
  readonly size: number
  /**
   * Takes the response out of Fastify's hands (and its handler time-out); who takes it ends it.
   * @param onLeave called once, when the client has left or the server is closing: also at once
   * @returns false: it is too late, the time-out has answered
   */
  take(reply: FastifyReply, onLeave: () => void): boolean
  /**
   * The same for `work` that takes its time: what a handler keeps must not wait in memory beside it. Ends the response when
   * `work` is done, and breaks the connection off when it fails, so that nobody takes half an answer for a whole one.
   */
  hold(reply: FastifyReply, work: (live: LiveResponse) => Promise<void>): FastifyReply
}

/** Settles as `wait` does, or resolves as soon as `signal` aborts. Leaves no listener behind. */
const orAborted = (wait: Promise<unknown>, signal: AbortSignal): Promise<void> => {
  if (signal.aborted) return Promise.resolve()
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  const onAbort = () => resolve()
  signal.addEventListener('abort', onAbort, { once: true })
  wait.then(() => resolve(), reject).finally(() => signal.removeEventListener('abort', onAbort))
  return promise
}

const drained = (raw: ServerResponse, signal: AbortSignal): Promise<void> => {
  const { promise, resolve } = Promise.withResolvers<void>()
  raw.once('drain', resolve)
  return orAborted(promise, signal).finally(() => raw.off('drain', resolve))
}

/** Breaks a response off, and says why unless the client has left anyway. */
export const breakOff = ({ raw, log }: FastifyReply, error: unknown, hasLeft: boolean): void => {
  if (!hasLeft) log.error({ err: error }, 'a stream broke off')
  raw.destroy()
}

const noop = () => {}

/** The open responses of one app; they end before the server closes, which would otherwise wait for them for ever. */
export const createLiveResponses = (app: FastifyInstance): LiveResponses => {
  /** What to call when a client leaves. */
  const open = new Map<ServerResponse, () => void>()
  let closing = false

  /** One function for all of them: thousands of idle responses keep nothing of ours but their entry. */
  const onClose = function (this: ServerResponse) {
    const onLeave = open.get(this)
    open.delete(this)
    onLeave?.()
  }

  app.addHook('preClose', async () => {
    closing = true
    const grace = AbortSignal.timeout(CLOSE_GRACE_MS)
    await Promise.all(
      [...open].map(async ([raw, onLeave]) => {
        open.set(raw, noop)
        const over = finished(raw).catch(() => undefined)
        onLeave()
        raw.end()
        await orAborted(over, grace)
        raw.destroy()
      }),
    )
  })

  const take: LiveResponses['take'] = (reply, onLeave) => {
    // The handler was too slow and its time-out has answered already.
    if (reply.sent) return false
    const { raw } = reply
    reply.hijack()
    open.set(raw, closing ? noop : onLeave)
    raw.on('close', onClose)
    if (closing) onLeave()
    if (raw.destroyed) onClose.call(raw)
    return true
  }

  return {
    get size() {
      return open.size
    },
    take,
    hold(reply, work) {
      const { raw } = reply
      const leave = new AbortController()
      const { signal } = leave
      if (!take(reply, () => leave.abort())) return reply
      const write = async (chunk: string | Uint8Array) => {
        if (!signal.aborted && !raw.write(chunk)) await drained(raw, signal)
      }
      Promise.try(work, { raw, signal, write }).then(
        () => raw.end(),
        (error: unknown) => breakOff(reply, error, signal.aborted),
      )
      return reply
    },
  }
}
