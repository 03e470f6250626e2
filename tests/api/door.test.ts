import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { ERRORS } from '#contracts/errors.ts'
import type { Store } from '#store/store.ts'
import { newRunOf } from '../conformance/store-world.ts'
import { waitFor } from '../helpers.ts'
import { type Api, type ApiOptions, generate, settle, startApi, startRun } from './harness.ts'

const startSmall = (t: TestContext, maxQueuedRuns: number, options: ApiOptions = {}): Promise<Api> =>
  startApi(t, { maxQueuedRuns, maxQueuedRunsPerTenant: maxQueuedRuns, ...options })

const ask = (api: Api, n: number, headers: Record<string, string> = {}) =>
  generate(api, { session_id: `s-${n}`, workspace_id: `w-${n}` }, headers)

const numbers = (n: number) => Array.from({ length: n }, (_, i) => i)

test('a full queue answers 429, says when to come back, and stores nothing', async (t) => {
  const api = await startSmall(t, 3)
  for (const n of numbers(3)) assert.equal((await ask(api, n)).statusCode, 202)
  const refused = await ask(api, 3)
  assert.equal(refused.statusCode, 429)
  const { code, cause, remediation } = refused.json()
  assert.deepEqual(
    { code, cause, remediation },
    {
      code: 'QUEUE_FULL',
      cause: '3 runs in this installation wait for a worker',
      remediation: ERRORS.QUEUE_FULL.remediation,
    },
  )
  assert.match(String(refused.headers['retry-after']), /^[1-9]\d*$/)
  assert.equal(await api.store.runs.getSession('default', 's-3'), undefined)
  assert.equal((await api.store.runs.queued(100)).length, 3)
})

test('of many at once exactly as many are let in as may wait, and each of those is stored and enqueued', async (t) => {
  const api = await startSmall(t, 40)
  const answers = await Promise.all(numbers(200).map((n) => ask(api, n)))
  const codes = answers.map(({ statusCode }) => statusCode)
  assert.equal(codes.filter((code) => code === 202).length, 40)
  assert.equal(codes.filter((code) => code === 429).length, 160)
  assert.equal((await api.store.runs.queued(1_000)).length, 40)
  assert.equal((await api.queue.stats()).waiting, 40)
})

test('what was refused for another reason takes no room', async (t) => {
  const api = await startSmall(t, 2)
  await ask(api, 0)
  for (const _ of numbers(5)) assert.equal((await ask(api, 0)).statusCode, 409)
  assert.equal((await ask(api, 1)).statusCode, 202)
})

test('there is room again as soon as a run leaves the line', async (t) => {
  const api = await startSmall(t, 1)
  const run = await startRun(api, { session_id: 's-0', workspace_id: 'w-0' })
  assert.equal((await ask(api, 1)).statusCode, 429)
  await settle(api, run)
  await waitFor(async () => (await ask(api, 1)).statusCode === 202)
})

test('an idempotency key that was accepted is never refused, with the same body or another', async (t) => {
  const api = await startSmall(t, 1)
  const first = await ask(api, 0, { 'idempotency-key': 'k' })
  const again = await ask(api, 0, { 'idempotency-key': 'k' })
  assert.deepEqual([again.statusCode, again.json()], [202, first.json()])
  assert.equal((await ask(api, 5, { 'idempotency-key': 'k' })).json().code, 'IDEMPOTENCY_KEY_REUSED')
  assert.equal((await ask(api, 5, { 'idempotency-key': 'other' })).statusCode, 429)
})

test('runs that other processes accepted are counted too', async (t) => {
  const api = await startSmall(t, 500)
  assert.equal((await ask(api, 0)).statusCode, 202)
  await Promise.all(numbers(499).map(() => api.store.runs.accept(newRunOf())))
  let n = 1
  await waitFor(async () => (await ask(api, n++)).statusCode === 429)
})

test('the limit of a tenant counts its own runs only', async (t) => {
  const api = await startApi(t, { maxQueuedRuns: 100, maxQueuedRunsPerTenant: 2 })
  for (const _ of numbers(10)) await api.store.runs.accept(newRunOf({ tenant_id: 'other' }))
  for (const n of numbers(2)) assert.equal((await ask(api, n)).statusCode, 202)
  const refused = await ask(api, 2)
  assert.equal(refused.statusCode, 429)
  assert.equal(refused.json().cause, '2 runs of this tenant wait for a worker')
})

test('while the line is short nobody waits for it to be counted', async (t) => {
  let counts = 0
  const wrapStore = (store: Store): Store => ({
    ...store,
    runs: {
      ...store.runs,
      countWaiting: () => {
        counts++
        return counts === 1 ? store.runs.countWaiting() : new Promise(() => {})
      },
    },
  })
  const api = await startSmall(t, 1_000, { wrapStore })
  for (const n of numbers(20)) assert.equal((await ask(api, n)).statusCode, 202)
  assert.equal(counts, 1)
})

test('a priority is one of three words', async (t) => {
  const api = await startSmall(t, 10)
  const run = await startRun(api, { options: { priority: 'high' } })
  assert.equal(run.options.priority, 'high')
  assert.ok(run.turn_at < run.created_at)
  const refused = await generate(api, { session_id: 'x', workspace_id: 'x', options: { priority: 'urgent' } })
  assert.equal(refused.statusCode, 400)
})
