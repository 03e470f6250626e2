import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Api, longLog, settle, startApi, startRun } from './harness.ts'

const EVENTS = '/api/agent/sessions/demo-1/events'

const range = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, n) => from + n)

const page = async (api: Api, query = '') =>
  (await api.app.inject({ url: `${EVENTS}${query}`, headers: { accept: 'application/json' } })).json()

test('JSON pages walk through the log', async (t) => {
  const api = await startApi(t)
  await longLog(api)
  const first = await page(api)
  assert.equal(first.events.length, 200)
  assert.equal(first.next_after, 200)
  const second = await page(api, '?after=200&limit=1000')
  assert.deepEqual(
    second.events.map(({ seq }: { seq: number }) => seq),
    range(201, 302),
  )
  assert.equal(second.next_after, 302)
  assert.deepEqual(await page(api, '?after=302'), { events: [], next_after: 302 })
  assert.deepEqual(await page(api, '?after=9999'), { events: [], next_after: 302 })
})

test('a JSON page of one run', async (t) => {
  const api = await startApi(t)
  const first = await startRun(api)
  await settle(api, first)
  const second = await startRun(api, { prompt: 'Next' })
  const { events } = await page(api, `?run_id=${second.run_id}`)
  assert.deepEqual(
    events.map(({ seq, run_id }: { seq: number; run_id: string }) => [seq, run_id]),
    [
      [4, second.run_id],
      [5, second.run_id],
    ],
  )
})
