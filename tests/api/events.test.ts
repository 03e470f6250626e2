import assert from 'node:assert/strict'
import { test } from 'node:test'
import { encodeEvent } from '#contracts/events.ts'
import { waitFor } from '../helpers.ts'
import { type Api, finish, generate, log, longLog, settle, startApi, startRun } from './harness.ts'
import { blocksOf, eventsOf } from './streams.ts'

const EVENTS = '/api/agent/sessions/demo-1/events'

const stream = async (api: Api, query = '', headers: Record<string, string> = {}, signal?: AbortSignal) =>
  fetch(`${await api.url()}${EVENTS}${query}`, { headers, ...(signal === undefined ? {} : { signal }) })

const ids = (events: readonly { id?: string }[]) => events.map(({ id }) => Number(id))

const range = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, n) => from + n)

test('what was seen live is what is read later, byte for byte', async (t) => {
  const api = await startApi(t)
  const run = await startRun(api)
  const live = stream(api).then(eventsOf)
  for (let n = 1; n <= 20; n++) await log(api, run, n)
  await finish(api, run)
  const seen = await live
  assert.deepEqual(ids(seen), range(1, 23))
  assert.equal(seen.at(-1)?.event, 'finish')
  assert.deepEqual(await eventsOf(await stream(api)), seen)

  const stored = await api.store.events.list('demo-1', { after: 0, limit: 100 })
  assert.deepEqual(
    seen.map(({ data }) => data),
    stored.map(encodeEvent),
  )
  const { body } = await api.app.inject({ url: EVENTS, headers: { accept: 'application/json' } })
  assert.equal(body, `{"events":[${seen.map(({ data }) => data).join(',')}],"next_after":23}`)
})

test('a run in progress: history first, then live, without a gap or a double', async (t) => {
  const api = await startApi(t)
  const run = await startRun(api)
  await log(api, run, 1)
  const blocks = blocksOf(await stream(api))
  const seen: number[] = []
  let n = 1
  for await (const { id, event } of blocks) {
    if (id === undefined) continue
    seen.push(Number(id))
    if (event === 'finish') continue
    if (Number(id) >= 3 && n < 6) await log(api, run, ++n)
    else if (n === 6 && Number(id) === 8) await finish(api, run)
  }
  assert.deepEqual(seen, range(1, 9))
})

test('Last-Event-ID and ?after= resume; the header wins', async (t) => {
  const api = await startApi(t)
  const run = await startRun(api)
  for (let n = 1; n <= 5; n++) await log(api, run, n)
  await finish(api, run)
  assert.deepEqual(ids(await eventsOf(await stream(api, '', { 'last-event-id': '5' }))), [6, 7, 8])
  assert.deepEqual(ids(await eventsOf(await stream(api, '?after=6'))), [7, 8])
  assert.deepEqual(ids(await eventsOf(await stream(api, '?after=2', { 'last-event-id': '7' }))), [8])
  assert.deepEqual(ids(await eventsOf(await stream(api, '?after=0', { 'last-event-id': '0' }))), range(1, 8))
  assert.deepEqual(ids(await eventsOf(await stream(api, '?after=7', { 'last-event-id': '' }))), [8])
})

test('204 when the finish was seen and nothing runs: that is what stops an EventSource', async (t) => {
  const api = await startApi(t)
  const run = await startRun(api)
  await settle(api, run)
  for (const cursor of ['3', '4', '999']) {
    const response = await stream(api, '', { 'last-event-id': cursor })
    assert.equal(response.status, 204, cursor)
    assert.equal(await response.text(), '')
  }
})

test('204 too when the finish was seen and its document still says that the run goes on', async (t) => {
  const api = await startApi(t)
  const run = await startRun(api)
  await finish(api, run)
  assert.equal((await api.store.runs.get(run.run_id))?.state, 'queued')
  assert.equal((await stream(api, '', { 'last-event-id': '3' })).status, 204)
  assert.deepEqual(ids(await eventsOf(await stream(api, '', { 'last-event-id': '2' }))), [3])
})

test('behind a finish that was seen, the next run is followed to its own', async (t) => {
  const api = await startApi(t)
  const first = await startRun(api)
  await finish(api, first)
  const second = await startRun(api, { prompt: 'Next' })
  const rest = stream(api, '', { 'last-event-id': '3' }).then(eventsOf)
  await finish(api, second)
  assert.deepEqual(ids(await rest), [4, 5, 6])
})

test('from the beginning of a session it goes over the ends of older runs to that of the active one', async (t) => {
  const api = await startApi(t)
  await settle(api, await startRun(api))
  const second = await startRun(api, { prompt: 'Next' })
  const all = stream(api).then(eventsOf)
  await log(api, second, 1)
  await finish(api, second)
  assert.deepEqual(ids(await all), range(1, 7))
})

test('a cursor beyond the end waits at the end, and misses neither the next event nor the finish', async (t) => {
  const api = await startApi(t)
  const run = await startRun(api)
  const response = await stream(api, '', { 'last-event-id': '5000' })
  const rest = eventsOf(response)
  await log(api, run, 1)
  await finish(api, run)
  assert.deepEqual(ids(await rest), [3, 4])
})

test('a finish that is written while the client connects is not missed', async (t) => {
  let meddle: (() => Promise<void>) | undefined
  for (const method of ['tail', 'marks'] as const) {
    const api = await startApi(t, {
      wrapStore: (store) => ({
        ...store,
        events: {
          ...store.events,
          [method]: async (sessionId: string, runId: string) => {
            const before = await store.events[method](sessionId, runId)
            const act = meddle
            meddle = undefined
            await act?.()
            return before
          },
        },
      }),
    })
    const run = await startRun(api)
    meddle = () => finish(api, run)
    assert.deepEqual(ids(await eventsOf(await stream(api, '?after=4000'))), [3], method)
  }
})

test('?run_id= shows one run and ends with it', async (t) => {
  const api = await startApi(t)
  const first = await startRun(api)
  await log(api, first, 1)
  await settle(api, first)
  const second = await startRun(api, { prompt: 'Next' })
  assert.deepEqual(ids(await eventsOf(await stream(api, `?run_id=${first.run_id}`))), [1, 2, 3, 4])
  assert.equal((await stream(api, `?run_id=${first.run_id}&after=4`)).status, 204)
  const rest = stream(api, `?run_id=${second.run_id}&after=5`).then(eventsOf)
  await finish(api, second)
  assert.deepEqual(ids(await rest), [6, 7])
})

test('?follow=session stays open over the ends of runs', async (t) => {
  const api = await startApi(t)
  await settle(api, await startRun(api))
  const leave = new AbortController()
  const response = await stream(api, '?follow=session', { 'last-event-id': '3' }, leave.signal)
  assert.equal(response.status, 200)
  const blocks = blocksOf(response)
  await blocks.next()
  for (const prompt of ['Second', 'Third']) await finish(api, await startRun(api, { prompt }))
  const seen: number[] = []
  for await (const { id } of blocks) if (seen.push(Number(id)) === 6) break
  assert.deepEqual(seen, range(4, 9))
  leave.abort()
})

test('an idle stream carries heartbeats without id', async (t) => {
  const api = await startApi(t, { heartbeatMs: 30 })
  await startRun(api)
  const leave = new AbortController()
  const comments: unknown[] = []
  for await (const block of blocksOf(await stream(api, '?after=2', {}, leave.signal))) {
    if (block.comment !== undefined) comments.push(block)
    if (comments.length === 2) break
  }
  assert.deepEqual(comments, [{ comment: 'heartbeat' }, { comment: 'heartbeat' }])
  leave.abort()
})

test('however many follow a session there is one tail of it, and none when they have left', async (t) => {
  let tails = 0
  const api = await startApi(t, {
    wrapStore: (store) => ({
      ...store,
      events: {
        ...store.events,
        async *changes(sessionId, signal) {
          tails++
          yield* store.events.changes(sessionId, signal)
          tails--
        },
      },
    }),
  })
  const run = await startRun(api)
  const responses = await Promise.all(Array.from({ length: 30 }, () => stream(api)))
  await waitFor(() => api.follower.open() === 30)
  assert.equal(tails, 1)
  const streams = responses.map(eventsOf)
  await log(api, run, 1)
  await finish(api, run)
  for (const events of await Promise.all(streams)) assert.deepEqual(ids(events), [1, 2, 3, 4])
  await waitFor(() => api.follower.open() === 0 && tails === 0)
})

test('a client that leaves lets go of the tail', async (t) => {
  const api = await startApi(t)
  await startRun(api)
  const leave = new AbortController()
  await stream(api, '', {}, leave.signal)
  await waitFor(() => api.follower.open() === 1)
  leave.abort()
  await waitFor(() => api.follower.open() === 0)
})

test('the server closes while clients follow: their streams end, and it does not wait for them', async (t) => {
  const api = await startApi(t)
  await longLog(api)
  const response = await stream(api)
  await api.app.close()
  const seen = ids(await eventsOf(response))
  assert.deepEqual(seen, range(1, seen.length))
  assert.equal(api.follower.open(), 0)
})

test('a session whose only accept was refused by the store has nothing to wait for', async (t) => {
  const api = await startApi(t, {
    wrapStore: (store) => ({
      ...store,
      runs: { ...store.runs, activeRun: async () => undefined, latestRun: async () => undefined },
    }),
  })
  await generate(api)
  assert.equal((await stream(api)).status, 204)
})
