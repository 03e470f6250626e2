import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Api, finish, post, settle, startApi, startRun } from './harness.ts'

const stop = (api: Api, payload: unknown = '') => post(api, '/api/agent/sessions/demo-1/stop', payload)

const take = async (api: Api, runId: string) =>
  api.store.runs.transition(runId, { attempt: 0, from: ['queued'] }, { state: 'running', attempt: 1 })

const types = async (api: Api) =>
  (await api.store.events.list('demo-1', { after: 0, limit: 100 })).map(({ event_type }) => event_type)

test('stop asks in the log, and a worker that holds the run is left to end it', async (t) => {
  const api = await startApi(t)
  const { run_id } = await startRun(api)
  await take(api, run_id)
  const answer = await stop(api)
  assert.equal(answer.statusCode, 202)
  assert.deepEqual(answer.json(), { session_id: 'demo-1', run_id, status: 'stopping' })
  assert.deepEqual(await types(api), ['user_message', 'run_state', 'cancel_requested'])
  assert.equal((await api.store.runs.get(run_id))?.state, 'running')
})

test('stop twice is the same answer and one request', async (t) => {
  const api = await startApi(t)
  const { run_id } = await startRun(api)
  await take(api, run_id)
  const first = await stop(api)
  const second = await stop(api, { run_id })
  assert.equal(second.statusCode, 202)
  assert.deepEqual(second.json(), first.json())
  assert.equal((await types(api)).filter((type) => type === 'cancel_requested').length, 1)
})

test('a queued run ends at once, as cancelled; stopping it again is the same answer', async (t) => {
  const api = await startApi(t)
  const { run_id } = await startRun(api)
  const first = await stop(api)
  assert.equal(first.statusCode, 202)
  const run = await api.store.runs.get(run_id)
  assert.equal(run?.state, 'finished')
  assert.deepEqual([run?.result?.status, run?.result?.cause], ['cancelled', 'cancelled'])
  assert.equal((await types(api)).at(-1), 'finish')
  const again = await stop(api)
  assert.deepEqual([again.statusCode, again.json()], [202, first.json()])
  const result = await api.app.inject({ url: `/api/agent/sessions/demo-1/runs/${run_id}/result` })
  assert.equal(result.json().status, 'cancelled')
})

test('a run that finished by itself is 409, named or not, settled or not', async (t) => {
  const api = await startApi(t)
  const run = await startRun(api)
  await finish(api, run)
  for (const payload of ['', { run_id: run.run_id }]) {
    const answer = await stop(api, payload)
    assert.equal(answer.statusCode, 409)
    assert.equal(answer.json().code, 'RUN_OVER')
    assert.equal(answer.json().run_id, run.run_id)
  }
  await settle(api, run)
  assert.equal((await stop(api)).json().code, 'RUN_OVER')
})

test('without a run_id it is the active run that stops, not the one before', async (t) => {
  const api = await startApi(t)
  const first = await startRun(api)
  await settle(api, first)
  const second = await startRun(api, { prompt: 'Next' })
  assert.equal((await stop(api)).json().run_id, second.run_id)
  assert.equal((await stop(api, { run_id: first.run_id })).json().code, 'RUN_OVER')
})

test('a queue that is down does not keep a run from being stopped', async (t) => {
  const down = () => Promise.reject(new Error('redis is gone'))
  const api = await startApi(t, { wrapQueue: (queue) => ({ ...queue, enqueue: down }) })
  await startRun(api)
  assert.equal((await stop(api)).statusCode, 202)
})
