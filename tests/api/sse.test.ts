import assert from 'node:assert/strict'
import { Agent, type ServerResponse } from 'node:http'
import { type TestContext, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import Fastify, { type FastifyBaseLogger } from 'fastify'
import pino from 'pino'
import { createLiveResponses } from '#api/live.ts'
import { type FrameSource, frameText, registerSse, SSE_ROUTE, type SseFrame } from '#api/sse.ts'
import { sleep, waitFor } from '../helpers.ts'
import { blocksOf, call, eventsOf, listen, stalledClient } from './streams.ts'

type Frames = (signal: AbortSignal) => AsyncIterable<SseFrame>

/** Frames that come by themselves, as what a stream pulls. */
const sourceOf = (frames: Frames, onMore: () => void, onClose = () => {}): FrameSource => {
  const leave = new AbortController()
  const iterator = frames(leave.signal)[Symbol.asyncIterator]()
  let there: (() => Uint8Array | 'end') | undefined
  const ask = () =>
    iterator
      .next()
      .then(
        ({ done, value }) => {
          there = () => (done ? 'end' : Buffer.from(frameText(value)))
        },
        (error: unknown) => {
          there = () => {
            throw error
          }
        },
      )
      .then(onMore)
  void ask()
  return {
    next() {
      const now = there
      there = undefined
      const frame = now?.()
      if (now !== undefined && frame !== 'end') void ask()
      return frame
    },
    close() {
      leave.abort()
      void Promise.resolve(iterator.return?.(undefined)).then(onClose, onClose)
    },
  }
}

/** The smallest app with one stream; `ended` resolves when its source was cleaned up. */
const streamApp = async (t: TestContext, frames: Frames, { heartbeatMs = 60_000, handlerTimeout = 60_000 } = {}) => {
  const app = Fastify({ handlerTimeout })
  const live = createLiveResponses(app)
  const sse = await registerSse(app, live, { heartbeatMs })
  const ended = Promise.withResolvers<void>()
  const raw = Promise.withResolvers<ServerResponse>()
  app.get('/', SSE_ROUTE, (_request, reply) => {
    raw.resolve(reply.raw)
    return sse.stream(reply, (onMore) => sourceOf(frames, onMore, ended.resolve))
  })
  return { app, live, url: await listen(t, app), ended: ended.promise, raw: raw.promise }
}

async function* silence(signal: AbortSignal): AsyncGenerator<SseFrame> {
  await delay(60_000, undefined, { signal }).catch(() => undefined)
}

async function* flood(): AsyncGenerator<SseFrame> {
  for (let id = 1; ; id++) yield { id, event: 'flood', data: 'x'.repeat(64 * 1024) }
}

test('headers and a retry hint are there at once, though nothing has happened yet', async (t) => {
  const { url } = await streamApp(t, silence)
  const response = await fetch(url)
  assert.equal(response.status, 200)
  assert.equal(response.headers.get('content-type'), 'text/event-stream')
  assert.equal(response.headers.get('x-accel-buffering'), 'no')
  assert.match(response.headers.get('cache-control') ?? '', /no-cache/)
  const { value } = await blocksOf(response).next()
  assert.deepEqual(value, { retry: '1000' })
})

test('a client that leaves while the socket is full lets go of the source', async (t) => {
  const { url, ended, raw, live } = await streamApp(t, flood)
  const client = await stalledClient(t, url)
  const response = await raw
  await waitFor(() => response.writableNeedDrain, { what: 'back-pressure' })
  client.destroy()
  await ended
  await waitFor(() => live.size === 0)
})

test('a client that leaves a silent stream lets go of the source', async (t) => {
  const { url, ended, live } = await streamApp(t, silence)
  const leave = new AbortController()
  await fetch(url, { signal: leave.signal })
  leave.abort()
  await ended
  await waitFor(() => live.size === 0)
})

test('the server closes with a silent stream open, and the client sees its end', async (t) => {
  const { app, url, ended } = await streamApp(t, silence)
  const response = await fetch(url)
  await app.close()
  await ended
  assert.deepEqual(await eventsOf(response), [])
})

test('the server closes with a stream open whose client does not read', async (t) => {
  const { app, url, ended, raw } = await streamApp(t, flood)
  await stalledClient(t, url)
  const response = await raw
  await waitFor(() => response.writableNeedDrain, { what: 'back-pressure' })
  await app.close()
  await ended
})

test('a stream outlives the handler time-out', async (t) => {
  const frames: Frames = async function* () {
    yield { id: 1, data: 'before' }
    await sleep(400)
    yield { id: 2, data: 'after' }
  }
  const { url } = await streamApp(t, frames, { handlerTimeout: 100 })
  const events = await eventsOf(await fetch(url))
  assert.deepEqual(
    events.map(({ data }) => data),
    ['before', 'after'],
  )
})

test('a handler that comes to its stream after the time-out has answered leaves the connection alone', async (t) => {
  const lines: string[] = []
  const loggerInstance = pino({ level: 'error' }, { write: (line: string) => lines.push(line) })
  const app = Fastify({ handlerTimeout: 50, loggerInstance: loggerInstance as FastifyBaseLogger })
  const sse = await registerSse(app, createLiveResponses(app), { heartbeatMs: 60_000 })
  const late = Promise.withResolvers<void>()
  app.get('/late', SSE_ROUTE, async (_request, reply) => {
    await sleep(200)
    sse.stream(reply, (onMore) => sourceOf(silence, onMore))
    late.resolve()
    return reply
  })
  app.get('/slow', { handlerTimeout: 5_000 }, async () => {
    await late.promise
    return 'fine'
  })
  const url = await listen(t, app)
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  t.after(() => agent.destroy())
  assert.equal((await call(agent, `${url}/late`)).status, 503)
  assert.deepEqual(await call(agent, `${url}/slow`), { status: 200, body: 'fine' })
  assert.deepEqual(
    lines.filter((line) => line.includes('broke off')),
    [],
  )
})

test('the id 0 is sent', async (t) => {
  const { url } = await streamApp(t, async function* () {
    yield { id: 0, event: 'first', data: '{}' }
  })
  assert.deepEqual(await eventsOf(await fetch(url)), [{ id: '0', event: 'first', data: '{}' }])
})

test('a frame without data is sent, and one with several lines stays one frame', async (t) => {
  const { url } = await streamApp(t, async function* () {
    yield { id: 1 }
    yield { id: 2, data: 'a\nb' }
  })
  assert.deepEqual(await eventsOf(await fetch(url)), [{ id: '1' }, { id: '2', data: 'a\nb' }])
})

test('a source that fails breaks the connection off: half a stream never looks whole', async (t) => {
  const { url, live } = await streamApp(t, async function* () {
    yield { id: 1, data: 'x' }
    throw new Error('the store is gone')
  })
  const response = await fetch(url)
  await assert.rejects(eventsOf(response))
  await waitFor(() => live.size === 0)
})

test('a silent stream carries comments without id', async (t) => {
  const { url } = await streamApp(t, silence, { heartbeatMs: 20 })
  const seen: unknown[] = []
  for await (const block of blocksOf(await fetch(url))) {
    seen.push(block)
    if (seen.length === 3) break
  }
  assert.deepEqual(seen, [{ retry: '1000' }, { comment: 'heartbeat' }, { comment: 'heartbeat' }])
})

test('no heartbeat is piled up in a full socket', async (t) => {
  const { url, raw } = await streamApp(t, flood, { heartbeatMs: 5 })
  await stalledClient(t, url)
  const response = await raw
  let full = -1
  await waitFor(() => {
    const before = full
    full = response.writableLength
    return response.writableNeedDrain && full === before
  })
  await sleep(100)
  assert.equal(response.writableLength, full)
})
