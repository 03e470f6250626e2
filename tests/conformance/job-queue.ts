import assert from 'node:assert/strict'
import { describe, it, type TestContext } from 'node:test'
import type { QueueJob } from '#contracts/job.ts'
import type { RunResult } from '#contracts/run.ts'
import type { JobHandler, JobOutcome, JobQueue } from '#queue/job-queue.ts'
import { sleep, waitFor } from '../helpers.ts'

/** Opens an empty queue for one test, and closes it after; `another` is a second handle on the same jobs. */
export type OpenQueues = (t: TestContext) => Promise<{ readonly queue: JobQueue; another(): JobQueue }>

export const jobOf = (runId: string): QueueJob => ({
  run_id: runId,
  session_id: `session-of-${runId}`,
  tenant_id: 'a-tenant',
  workspace_id: `workspace-of-${runId}`,
})

const DONE: JobOutcome = { kind: 'done' }

const RESULT: RunResult = {
  session_id: 's',
  run_id: 'r',
  status: 'success',
  cause: 'completed',
  elapsed_seconds: 1,
}

const FORGOTTEN_MS = 3_000

/** A handler whose calls wait for the test to say how they end. */
const createHeldHandler = () => {
  type Call = { readonly job: QueueJob; readonly signal: AbortSignal } & PromiseWithResolvers<JobOutcome>
  const calls: Call[] = []
  const handler: JobHandler = (job, signal) => {
    const call = { job, signal, ...Promise.withResolvers<JobOutcome>() }
    calls.push(call)
    signal.addEventListener('abort', () => {
      // Disposing waits for handlers: a call that a failed test has left behind must not hold it for ever.
      setTimeout(() => call.reject(new Error('left behind by its test')), FORGOTTEN_MS).unref()
    })
    return call.promise
  }
  return { calls, handler, seen: () => calls.map(({ job }) => job.run_id) }
}

const takesUp = async (queue: JobQueue, jobs: readonly string[], concurrency = 1) => {
  const held = createHeldHandler()
  const consumer = queue.consume(held.handler, { concurrency })
  for (const id of jobs) await queue.enqueue(jobOf(id))
  await waitFor(() => held.calls.length === Math.min(jobs.length, concurrency), { what: 'the jobs to be taken up' })
  return { ...held, consumer }
}

// Long enough for a queue to do what it must not do. It cannot make a right queue fail.
const A_WHILE_MS = 300

const offering = (open: OpenQueues) => {
  it('hands a job to the handler, whole, and counts it', async (t) => {
    const { queue } = await open(t)
    await queue.ping()
    assert.deepEqual(await queue.stats(), { waiting: 0, active: 0, delayed: 0 })
    await queue.enqueue(jobOf('a'))
    assert.deepEqual(await queue.stats(), { waiting: 1, active: 0, delayed: 0 })
    const { calls, handler } = createHeldHandler()
    await using _consumer = queue.consume(handler, { concurrency: 1 })
    const call = await waitFor(() => calls[0])
    assert.deepEqual(call.job, jobOf('a'))
    assert.deepEqual(await queue.stats(), { waiting: 0, active: 1, delayed: 0 })
    call.resolve({ kind: 'done', result: RESULT })
    await waitFor(async () => (await queue.stats()).active === 0)
  })

  it('offers jobs in the order they came', async (t) => {
    const { queue } = await open(t)
    const ids = ['c', 'a', 'd', 'b', 'e']
    for (const id of ids) await queue.enqueue(jobOf(id))
    const seen: string[] = []
    const handler: JobHandler = async ({ run_id }) => {
      seen.push(run_id)
      return DONE
    }
    await using _consumer = queue.consume(handler, { concurrency: 1 })
    await waitFor(() => seen.length === ids.length)
    assert.deepEqual(seen, ids)
  })

  it('runs as many handlers at a time as it was told, and no more', async (t) => {
    const { queue } = await open(t)
    const { calls, consumer } = await takesUp(queue, ['a', 'b', 'c', 'd', 'e'], 3)
    await using _consumer = consumer
    await sleep(A_WHILE_MS)
    assert.equal(calls.length, 3)
    calls[1]?.resolve(DONE)
    await waitFor(() => calls.length === 4)
    for (const call of calls) call.resolve(DONE)
    await waitFor(() => calls.length === 5)
    calls[4]?.resolve(DONE)
  })

  it('shares the jobs between two consumers: each job is handled once', async (t) => {
    const { queue, another } = await open(t)
    const seen: string[] = []
    const handlerOf = (name: string) => async (job: QueueJob) => {
      seen.push(`${name} ${job.run_id}`)
      await sleep(30)
      return DONE
    }
    await using _first = queue.consume(handlerOf('first'), { concurrency: 1 })
    await using _second = another().consume(handlerOf('second'), { concurrency: 1 })
    const ids = Array.from({ length: 20 }, (_, n) => `r${n}`)
    for (const id of ids) await queue.enqueue(jobOf(id))
    await waitFor(() => seen.length === ids.length)
    await sleep(A_WHILE_MS)
    assert.deepEqual(seen.map((line) => line.split(' ')[1]).sort(), [...ids].sort())
    assert.deepEqual(new Set(seen.map((line) => line.split(' ')[0])), new Set(['first', 'second']))
  })
}

const identity = (open: OpenQueues) => {
  it('knows a run once, while its job waits, is worked on, or is put off', async (t) => {
    const { queue } = await open(t)
    await queue.enqueue(jobOf('a'))
    await queue.enqueue(jobOf('a'))
    assert.equal((await queue.stats()).waiting, 1)
    const { calls, handler } = createHeldHandler()
    await using _consumer = queue.consume(handler, { concurrency: 2 })
    const call = await waitFor(() => calls[0])
    await queue.enqueue(jobOf('a'))
    await sleep(A_WHILE_MS)
    assert.equal(calls.length, 1)
    call.resolve({ kind: 'later', delayMs: 60_000 })
    await waitFor(async () => (await queue.stats()).delayed === 1)
    await queue.enqueue(jobOf('a'))
    await sleep(A_WHILE_MS)
    assert.equal(calls.length, 1)
    assert.deepEqual(await queue.stats(), { waiting: 0, active: 0, delayed: 1 })
  })

  it('takes the job of a run anew when the one before is over', async (t) => {
    const { queue } = await open(t)
    const { calls, consumer } = await takesUp(queue, ['a'])
    await using _consumer = consumer
    for (const round of [1, 2, 3]) {
      const call = await waitFor(() => calls[round - 1])
      call.resolve({ kind: 'done', result: RESULT })
      await waitFor(async () => (await queue.stats()).active === 0)
      await queue.enqueue(jobOf('a'))
    }
    const last = await waitFor(() => calls[3])
    last.resolve(DONE)
  })

  it('removes a job that waits or is put off, and leaves one that is worked on', async (t) => {
    const { queue } = await open(t)
    const { calls, handler } = createHeldHandler()
    const consumer = queue.consume(handler, { concurrency: 1 })
    await queue.enqueue(jobOf('busy'))
    const call = await waitFor(() => calls[0])
    await queue.enqueue(jobOf('idle'))
    assert.equal(await queue.remove('idle'), true)
    assert.equal(await queue.remove('idle'), false)
    assert.equal(await queue.remove('busy'), false)
    assert.equal(await queue.remove('never-seen'), false)
    call.resolve({ kind: 'later', delayMs: 60_000 })
    await waitFor(async () => (await queue.stats()).delayed === 1)
    assert.equal(await queue.remove('busy'), true)
    assert.deepEqual(await queue.stats(), { waiting: 0, active: 0, delayed: 0 })
    await queue.enqueue(jobOf('over'))
    ;(await waitFor(() => calls[1])).resolve(DONE)
    await waitFor(async () => (await queue.stats()).active === 0)
    assert.equal(await queue.remove('over'), false)
    assert.equal(calls.length, 2)
    await consumer[Symbol.asyncDispose]()
  })
}

const again = (open: OpenQueues) => {
  it('offers a job again that was put off, and serves others meanwhile', async (t) => {
    const { queue } = await open(t)
    const { calls, seen, consumer } = await takesUp(queue, ['a'])
    await using _consumer = consumer
    calls[0]?.resolve({ kind: 'later', delayMs: 400 })
    await queue.enqueue(jobOf('b'))
    ;(await waitFor(() => calls[1])).resolve(DONE)
    ;(await waitFor(() => calls[2])).resolve(DONE)
    assert.deepEqual(seen(), ['a', 'b', 'a'])
  })

  it('offers a job again whose handler rejects or throws, as often as it takes', async (t) => {
    const { queue } = await open(t)
    let calls = 0
    const handler: JobHandler = () => {
      calls++
      if (calls === 1) throw new Error('thrown by a handler, on purpose')
      return calls < 4 ? Promise.reject(new Error('rejected by a handler, on purpose')) : Promise.resolve(DONE)
    }
    await using _consumer = queue.consume(handler, { concurrency: 1 })
    await queue.enqueue(jobOf('a'))
    await waitFor(() => calls === 4)
    await waitFor(async () => (await queue.stats()).active === 0)
    assert.deepEqual(await queue.stats(), { waiting: 0, active: 0, delayed: 0 })
  })
}

const leaving = (open: OpenQueues) => {
  for (const [how, leave] of [
    ['returns later', (call: PromiseWithResolvers<JobOutcome>) => call.resolve({ kind: 'later', delayMs: 60_000 })],
    ['rejects', (call: PromiseWithResolvers<JobOutcome>) => call.reject(new Error('disposed'))],
  ] as const) {
    it(`hands a job back when its consumer is disposed and the handler ${how}`, async (t) => {
      const { queue, another } = await open(t)
      const { calls, consumer } = await takesUp(queue, ['a'])
      await queue.enqueue(jobOf('b'))
      calls[0]?.signal.addEventListener('abort', () => calls[0] && leave(calls[0]))
      await consumer[Symbol.asyncDispose]()
      assert.equal(calls.length, 1, 'a consumer that is being disposed takes nothing new')
      assert.deepEqual(await queue.stats(), { waiting: 2, active: 0, delayed: 0 })
      const next = await takesUp(another(), [], 2)
      await using _next = next.consumer
      await waitFor(() => next.calls.length === 2, { timeoutMs: 5_000, what: 'the job that was handed back' })
      assert.deepEqual(next.seen(), ['a', 'b'], 'what was handed back comes first')
      for (const call of next.calls) call.resolve(DONE)
    })
  }

  it('waits for handlers that end their work although their consumer is being disposed', async (t) => {
    const { queue } = await open(t)
    const { calls, consumer } = await takesUp(queue, ['a'])
    let disposed = false
    const disposing = Promise.resolve(consumer[Symbol.asyncDispose]()).then(() => {
      disposed = true
    })
    await sleep(A_WHILE_MS)
    assert.equal(calls[0]?.signal.aborted, true)
    assert.equal(disposed, false)
    calls[0]?.resolve({ kind: 'done', result: RESULT })
    await disposing
    assert.deepEqual(await queue.stats(), { waiting: 0, active: 0, delayed: 0 })
  })
}

/** What every queue does: see the comment of the port. */
export const jobQueueConformance = (name: string, open: OpenQueues, options: { skip?: string | false } = {}): void => {
  describe(`${name} as a job queue`, { skip: options.skip ?? false }, () => {
    offering(open)
    identity(open)
    again(open)
    leaving(open)
  })
}
