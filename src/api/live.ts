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
   * Takes the response out of Fastify's hands (and its handler time-out) and begins `work` on it: what a handler keeps must not
   * wait in memory beside thousands of idle streams. Ends the response when `work` is done, and breaks the connection off when
   * it fails, so that nobody takes half an answer for a whole one.
   */
  hold(reply: FastifyReply, work: (live: LiveResponse) => Promise<void>): FastifyReply
}

/** Settles as `wait` does, or resolves as soon as `signal` aborts. Leaves no listener behind. */
export const orAborted = (wait: Promise<unknown>, signal: AbortSignal): Promise<void> => {
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

const hold = (
  { raw, log }: FastifyReply,
  { signal }: AbortController,
  work: (live: LiveResponse) => Promise<void>,
): void => {
  const write = async (chunk: string | Uint8Array) => {
    if (!signal.aborted && !raw.write(chunk)) await drained(raw, signal)
  }
  Promise.try(work, { raw, signal, write }).then(
    () => raw.end(),
    (error: unknown) => {
      if (!signal.aborted) log.error({ err: error }, 'a stream broke off')
      raw.destroy()
    },
  )
}

/** The open responses of one app; they end before the server closes, which would otherwise wait for them for ever. */
export const createLiveResponses = (app: FastifyInstance): LiveResponses => {
  const open = new Map<ServerResponse, AbortController>()
  let closing = false

  app.addHook('preClose', async () => {
    closing = true
    const grace = AbortSignal.timeout(CLOSE_GRACE_MS)
    await Promise.all(
      [...open].map(async ([raw, leave]) => {
        const over = finished(raw).catch(() => undefined)
        leave.abort()
        raw.end()
        await orAborted(over, grace)
        raw.destroy()
      }),
    )
  })

  return {
    get size() {
      return open.size
    },
    hold(reply, work) {
      // The handler was too slow and its time-out has answered already.
      if (reply.sent) return reply
      const { raw } = reply
      const leave = new AbortController()
      reply.hijack()
      open.set(raw, leave)
      const onClose = () => {
        open.delete(raw)
        leave.abort()
      }
      raw.once('close', onClose)
      if (raw.destroyed) onClose()
      if (closing) leave.abort()
      hold(reply, leave, work)
      return reply
    },
  }
}
