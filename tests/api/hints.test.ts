import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createHints } from '#api/hints.ts'
import { createInProcessQueue } from '#queue/in-process.ts'
import type { JobQueue } from '#queue/job-queue.ts'
import { sleep, waitFor } from '../helpers.ts'
import { generate, startApi } from './harness.ts'

/** A queue that can go away, and what it was told. */
const failing = () => {
  const state = { away: true, calls: 0 }
  const wrap = (queue: JobQueue): JobQueue => ({
    ...queue,
    enqueue: (job, options) => {
      state.calls++
      return state.away ? Promise.reject(new Error('away, on purpose')) : queue.enqueue(job, options)
    },
  })
  return { state, wrap }
}

test('what is accepted while the queue is away is enqueued as soon as it is back', async (t) => {
  const { state, wrap } = failing()
  const api = await startApi(t, { wrapQueue: wrap })
  for (const n of [1, 2, 3]) {
    assert.equal((await generate(api, { session_id: `s-${n}`, workspace_id: `w-${n}` })).statusCode, 202)
  }
  assert.equal((await api.queue.stats()).waiting, 0)
  state.away = false
  await waitFor(async () => (await api.queue.stats()).waiting === 3)
})

test('it asks again until it succeeds, and not after it was disposed', async (t) => {
  const { state, wrap } = failing()
  await using queue = createInProcessQueue()
  const log = { warn() {}, info() {} }
  const hints = createHints(wrap(queue), log as never, 5)
  t.after(() => hints[Symbol.dispose]())
  await hints.give({ run_id: 'r', session_id: 's' })
  await waitFor(() => state.calls > 5)
  hints[Symbol.dispose]()
  await sleep(20)
  const { calls } = state
  await sleep(30)
  assert.equal(state.calls, calls)
})
