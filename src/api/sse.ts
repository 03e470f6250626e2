import { fastifySSE } from '@fastify/sse'
import type { FastifyInstance, FastifyReply } from 'fastify'
import { type LiveResponse, type LiveResponses, orAborted } from './live.ts'

/** One frame of an event stream. `data` has no carriage returns. */
export type SseFrame = { readonly id?: number; readonly event?: string; readonly data?: string }

export type Aside = (frame: Required<Omit<SseFrame, 'id'>>) => void

export type Sse = {
  /**
   * Answers with an event stream of these frames, which ends when they do. `frames` gets a signal that aborts when the
   * client has left or the server is closing, and must end then; and `aside`, for a frame of the moment between two others, which a
   * client that does not keep up is spared.
   */
  stream(reply: FastifyReply, frames: (signal: AbortSignal, aside: Aside) => AsyncIterable<SseFrame>): FastifyReply
}

/** Route option of every route that may answer with an event stream; the handler decides by itself whether it does. */
export const SSE_ROUTE = { sse: 'manual' } as const

/** Milliseconds a browser waits before it connects again. */
const RETRY_MS = 1_000

const HEARTBEAT = ': heartbeat\n\n'

/** The library drops the number 0 and throws on a message without a `data` key. */
const message = ({ id, event, data }: SseFrame) => ({
  data,
  ...(id === undefined ? {} : { id: String(id) }),
  ...(event === undefined ? {} : { event }),
})

const begin = (reply: FastifyReply, { raw }: LiveResponse): void => {
  reply.header('cache-control', 'no-cache, no-transform')
  // Else the library ends the response when the handler returns, which it does at once.
  reply.sse.keepAlive()
  reply.sse.sendHeaders(200)
  raw.flushHeaders()
  raw.write(`retry: ${RETRY_MS}\n\n`)
}

/** The library waits for `drain` and never notices that the client has left meanwhile, so that we race it with that. */
const sendAll = async (
  reply: FastifyReply,
  { raw, signal }: LiveResponse,
  frames: AsyncIterable<SseFrame>,
  onEnd: () => void,
): Promise<void> => {
  try {
    for await (const frame of frames) {
      if (signal.aborted) return
      const sent = reply.sse.send(message(frame))
      if (raw.writableNeedDrain) await orAborted(sent, signal)
      else await sent
    }
  } finally {
    onEnd()
  }
}

/**
 * Event streams on `@fastify/sse`, which only this file knows. What the library leaves open is closed here and in live.ts:
 * a client that leaves under back-pressure, headers that wait for the first event, handler time-outs, a server that
 * cannot close, `id: 0`, frames without data, heartbeats into a full socket, half an answer that looks whole.
 */
export const registerSse = async (
  app: FastifyInstance,
  live: LiveResponses,
  options: { readonly heartbeatMs: number },
): Promise<Sse> => {
  const open = new Set<LiveResponse>()
  await app.register(fastifySSE, { heartbeatInterval: 0, serializer: String })

  const timer = setInterval(() => {
    for (const { raw } of open) if (!raw.writableNeedDrain && !raw.writableEnded) raw.write(HEARTBEAT)
  }, options.heartbeatMs)
  timer.unref()
  app.addHook('onClose', async () => clearInterval(timer))

  return {
    stream: (reply, frames) =>
      live.hold(reply, (response) => {
        const { raw, signal } = response
        const aside: Aside = ({ event, data }) => {
          if (!raw.writableNeedDrain && !raw.writableEnded) raw.write(`event: ${event}\ndata: ${data}\n\n`)
        }
        begin(reply, response)
        open.add(response)
        return sendAll(reply, response, frames(signal, aside), () => void open.delete(response))
      }),
  }
}
