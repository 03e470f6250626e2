import type { ServerResponse } from 'node:http'
import { fastifySSE } from '@fastify/sse'
import type { FastifyInstance, FastifyReply } from 'fastify'
import { breakOff, type LiveResponses } from './live.ts'

/** One frame of an event stream. `data` has no carriage returns. */
export type SseFrame = { readonly id?: number; readonly event?: string; readonly data?: string }

export type Aside = (frame: Required<Omit<SseFrame, 'id'>>) => void

/** What a stream says. Pulled, not pushed: a client that does not read holds up nothing but its own source. */
export type FrameSource = {
  /** A whole frame. `undefined`: there is none now, `onMore` is called once there is; `'end'`: there will be none. */
  next(): Uint8Array | 'end' | undefined
  /** Called once, when the stream is over for whatever reason. */
  close(): void
}

/**
 * Opens what a stream says.
 * @param onMore call after `next` came back empty
 * @param aside sends a frame of the moment between two others, which a client that does not keep up is spared
 */
export type OpenSource = (onMore: () => void, aside: Aside) => FrameSource

export type Sse = {
  /** Answers with an event stream of this source, which ends where that does; and when the client leaves or the server closes. */
  stream(reply: FastifyReply, open: OpenSource): FastifyReply
}

/** Route option of every route that may answer with an event stream; the handler decides by itself whether it does. */
export const SSE_ROUTE = { sse: 'manual' } as const

/** Milliseconds a browser waits before it connects again. */
const RETRY_MS = 1_000

const HEARTBEAT = ': heartbeat\n\n'

/** A frame as it goes over the wire. */
export const frameText = ({ id, event, data }: SseFrame): string => {
  const head = `${id === undefined ? '' : `id: ${id}\n`}${event === undefined ? '' : `event: ${event}\n`}`
  return `${head}${data === undefined ? '' : `data: ${data.replaceAll('\n', '\ndata: ')}\n`}\n`
}

/** One open stream. A plain value: thousands of them wait, and a promise or a generator for each would weigh more than this. */
type Stream = {
  readonly reply: FastifyReply
  readonly raw: ServerResponse
  source: FrameSource | undefined
  /** The socket is full: it says when it is not. */
  full: boolean
  over: boolean
}

const begin = (reply: FastifyReply): void => {
  const { raw } = reply
  reply.header('cache-control', 'no-cache, no-transform')
  // Else the library ends the response when the handler returns, which it does at once.
  reply.sse.keepAlive()
  reply.sse.sendHeaders(200)
  raw.flushHeaders()
  raw.write(`retry: ${RETRY_MS}\n\n`)
}

/** The response ends as well, unless it has not begun. */
const end = (stream: Stream): void => {
  if (stream.over) return
  stream.over = true
  stream.source?.close()
  if (stream.raw.headersSent) stream.raw.end()
}

const fail = (stream: Stream, error: unknown): void => {
  breakOff(stream.reply, error, stream.over)
  end(stream)
}

const waitForRoom = (stream: Stream): void => {
  stream.full = true
  stream.raw.once('drain', () => {
    stream.full = false
    pump(stream)
  })
}

/** Sends what there is, as far as the client takes it. */
const pump = (stream: Stream): void => {
  const { raw, source } = stream
  try {
    while (source !== undefined && !stream.over && !stream.full) {
      const frame = source.next()
      if (frame === undefined) return
      if (frame === 'end') return void end(stream)
      if (!raw.write(frame)) waitForRoom(stream)
    }
  } catch (error) {
    fail(stream, error)
  }
}

const start = (stream: Stream, open: () => FrameSource): void => {
  try {
    begin(stream.reply)
    if (stream.over) return void stream.raw.end()
    stream.source = open()
    pump(stream)
  } catch (error) {
    fail(stream, error)
  }
}

/**
 * Event streams on `@fastify/sse`, which only this file knows: it opens them, and what goes into them is written here, so that a
 * frame is made once for all who get it. What the library leaves open is closed here and in live.ts: a client that leaves under
 * back-pressure, headers that wait for the first event, handler time-outs, a server that cannot close, heartbeats into a
 * full socket, half an answer that looks whole.
 */
export const registerSse = async (
  app: FastifyInstance,
  live: LiveResponses,
  options: { readonly heartbeatMs: number },
): Promise<Sse> => {
  const open = new Set<Stream>()
  await app.register(fastifySSE, { heartbeatInterval: 0 })

  /** What can be spared goes only into sockets that take it. */
  const spare = ({ raw }: Stream, text: string) => {
    if (!raw.writableNeedDrain && !raw.writableEnded) raw.write(text)
  }
  const timer = setInterval(() => {
    for (const stream of open) spare(stream, HEARTBEAT)
  }, options.heartbeatMs)
  timer.unref()
  app.addHook('onClose', async () => clearInterval(timer))

  return {
    stream(reply, openSource) {
      const { raw } = reply
      const stream: Stream = { reply, raw, source: undefined, full: false, over: false }
      const leave = () => {
        open.delete(stream)
        end(stream)
      }
      if (!live.take(reply, leave)) return reply
      open.add(stream)
      const aside: Aside = (frame) => spare(stream, frameText(frame))
      start(stream, () => openSource(() => pump(stream), aside))
      return reply
    },
  }
}
