import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Api, body, finish, generate, settle, startApi, startRun } from './harness.ts'
import { eventsOf } from './streams.ts'

const streamed = (url: string, headers: Record<string, string> = {}, patch: Record<string, unknown> = {}) =>
  fetch(`${url}/api/agent/generate`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', accept: 'text/event-stream', ...headers },
    body: JSON.stringify(body(patch)),
  })

const runOf = async (api: Api, response: Response) => {
  const run = await api.store.runs.get(response.headers.get('location')?.split('/').at(-1) ?? '')
  assert.ok(run)
  return run
}

test('with Accept: text/event-stream the call streams its own run and ends behind its finish', async (t) => {
  const api = await startApi(t)
  const before = await startRun(api)
  await settle(api, before)
  const response = await streamed(await api.url())
  assert.equal(response.status, 200)
  const run = await runOf(api, response)
  await finish(api, run)
  const events = await eventsOf(response)
  assert.deepEqual(
    events.map(({ id, event }) => [id, event]),
    [
      ['4', 'user_message'],
      ['5', 'run_state'],
      ['6', 'finish'],
    ],
  )
  for (const { data } of events) assert.equal(JSON.parse(data ?? '').run_id, run.run_id)
})

test('the same key asks for the stream of the first run again, from the start or behind Last-Event-ID', async (t) => {
  const api = await startApi(t)
  const url = await api.url()
  const key = { 'idempotency-key': 'k' }
  const first = await streamed(url, key)
  const run = await runOf(api, first)
  await finish(api, run)
  const all = await eventsOf(first)
  assert.deepEqual(await eventsOf(await streamed(url, key)), all)
  assert.deepEqual(await eventsOf(await streamed(url, { ...key, 'last-event-id': '2' })), all.slice(2))
  assert.equal((await streamed(url, { ...key, 'last-event-id': '3' })).status, 204)
})

test('what stands against the run is told as JSON, before any stream', async (t) => {
  const api = await startApi(t)
  await startRun(api)
  const response = await streamed(await api.url())
  assert.equal(response.status, 409)
  assert.match(response.headers.get('content-type') ?? '', /application\/json/)
})

test('a client that leaves the stream does not end the run', async (t) => {
  const api = await startApi(t)
  const leave = new AbortController()
  const response = await fetch(`${await api.url()}/api/agent/generate`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', accept: 'text/event-stream' },
    body: JSON.stringify(body()),
    signal: leave.signal,
  })
  const run = await runOf(api, response)
  leave.abort()
  assert.equal((await generate(api)).json().run_id, run.run_id)
})
