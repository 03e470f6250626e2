import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import type { Run } from '#contracts/run.ts'
import { newRunOf } from '../conformance/store-world.ts'
import { waitFor } from '../helpers.ts'
import { type Api, body, finish, settle, startApi, startRun } from './harness.ts'
import { type Block, blocksOf } from './streams.ts'

const nth = (n: number) => ({ session_id: `s-${n}`, workspace_id: `w-${n}` })

const start = (t: TestContext): Promise<Api> => startApi(t, { lineMs: 20 })

/** Reads a stream in the background. */
const reading = async (t: TestContext, api: Api, path: string, init: RequestInit = {}) => {
  const leave = new AbortController()
  t.after(() => leave.abort())
  const headers = { accept: 'text/event-stream', ...init.headers }
  const response = await fetch(`${await api.url()}${path}`, { ...init, headers, signal: leave.signal })
  assert.equal(response.status, 200)
  const blocks: Block[] = []
  const done = (async () => {
    for await (const block of blocksOf(response)) blocks.push(block)
  })()
  done.catch(() => {})
  const places = () => blocks.filter(({ event }) => event === 'queue').map(({ data }) => JSON.parse(data ?? ''))
  return { blocks, places, done }
}

const get = async (api: Api, path: string) => (await api.app.inject({ url: path })).json()

test('a stream of a queued run says where it is, without an id, and says so again when that changes', async (t) => {
  const api = await start(t)
  const first = await startRun(api, nth(0))
  const second = await startRun(api, nth(1))
  const { blocks, places, done } = await reading(t, api, '/api/agent/sessions/s-1/events')
  await waitFor(() => places().length === 1)
  const place = { run_id: second.run_id, position: 2, ahead: 1, estimate_seconds: null }
  assert.deepEqual(places(), [place])
  assert.ok(blocks.every(({ id, event }) => (id === undefined) === (event === 'queue' || event === undefined)))
  await settle(api, first)
  await waitFor(() => places().length === 2)
  assert.deepEqual(places()[1], { ...place, position: 1, ahead: 0 })
  await finish(api, second)
  await done
  assert.equal(blocks.at(-1)?.event, 'finish')
})

test('generate as a stream, a stream that is resumed, and one of the whole session say it too', async (t) => {
  const api = await start(t)
  for (let n = 0; n < 3; n++) await startRun(api, nth(n))
  const init = {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body(nth(3))),
  }
  const streams = [
    await reading(t, api, '/api/agent/generate', init),
    await reading(t, api, '/api/agent/sessions/s-3/events?after=2'),
    await reading(t, api, '/api/agent/sessions/s-3/events?follow=session&after=2'),
  ]
  for (const { places } of streams) {
    await waitFor(() => places().length > 0)
    assert.equal(places()[0].position, 4)
  }
})

test('once something else has happened to the run there is no word of the line any more', async (t) => {
  const api = await start(t)
  const run = await startRun(api, nth(0))
  const { blocks, places } = await reading(t, api, '/api/agent/sessions/s-0/events')
  await waitFor(() => places().length === 1)
  const data = { state: 'starting' } as const
  const { makeEvent } = await import('#contracts/events.ts')
  await api.store.events.append('s-0', [makeEvent(run, `${run.run_id}:x`, 'run_state', data)])
  await waitFor(() => blocks.at(-1)?.event === 'run_state' && places().length >= 1)
  const before = blocks.length
  for (let n = 1; n < 4; n++) {
    await startRun(api, { ...nth(n), options: { priority: 'high' } })
    await get(api, `/api/agent/sessions/s-${n}`)
  }
  assert.equal(blocks.length, before)
})

test('run and session say it in JSON while the run is queued, and lists do not', async (t) => {
  const api = await start(t)
  await startRun(api, nth(0))
  const run: Run = await startRun(api, nth(1))
  const queue = { position: 2, ahead: 1, estimate_seconds: null }
  const path = `/api/agent/sessions/s-1/runs/${run.run_id}`
  const seen = await waitFor(async () => (await get(api, path)).queue)
  assert.deepEqual(seen, queue)
  assert.deepEqual((await get(api, '/api/agent/sessions/s-1')).queue, queue)
  assert.equal((await get(api, '/api/agent/sessions/s-1/runs')).runs[0].queue, undefined)
  await settle(api, run)
  assert.equal((await get(api, path)).queue, undefined)
  assert.equal((await get(api, '/api/agent/sessions/s-1')).queue, undefined)
})

test('the estimate comes from the runs that ended last and those at work', async (t) => {
  const api = await start(t)
  const { runs } = api.store
  const worked = async (seconds: number, ended: boolean) => {
    const run = newRunOf()
    await runs.accept(run)
    const started_at = new Date(Date.now() - seconds * 1000)
    const taken = { state: 'running', attempt: 1, engine_id: 'e', started_at } as const
    await runs.transition(run.run_id, { attempt: 0, from: ['queued'] }, taken)
    if (!ended) return
    const now = new Date()
    const over = { state: 'finished', lock: false, finished_at: now, seen_at: now } as const
    await runs.transition(run.run_id, { attempt: 1, from: ['running'] }, over)
  }
  for (const seconds of [10, 20, 30]) await worked(seconds, true)
  for (let n = 0; n < 2; n++) await worked(1, false)
  for (let n = 0; n < 4; n++) await startRun(api, nth(n))
  const { queue } = await get(api, '/api/agent/sessions/s-3')
  assert.equal(queue.position, 4)
  // Four rounds of 20 s on two places; the runs were at work a little longer than that, by what the test took.
  assert.ok(queue.estimate_seconds >= 40 && queue.estimate_seconds < 60, String(queue.estimate_seconds))
})
