import assert from 'node:assert/strict'
import { it } from 'node:test'
import { createInProcessQueue } from '#queue/in-process.ts'
import { jobOf, jobQueueConformance } from '../conformance/job-queue.ts'
import { waitFor } from '../helpers.ts'

jobQueueConformance('in-process', async (t) => {
  const queue = createInProcessQueue()
  t.after(() => queue[Symbol.asyncDispose]())
  return { queue, another: () => queue }
})

it('says that it is closed, and keeps no timer that would hold the process', async () => {
  const queue = createInProcessQueue()
  queue.consume(async () => ({ kind: 'later', delayMs: 3_600_000 }), { concurrency: 1 })
  await queue.enqueue(jobOf('a'))
  await waitFor(async () => (await queue.stats()).delayed === 1)
  await queue[Symbol.asyncDispose]()
  await assert.rejects(queue.enqueue(jobOf('b')), /closed/)
  await assert.rejects(queue.ping(), /closed/)
})
