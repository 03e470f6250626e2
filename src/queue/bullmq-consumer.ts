import { setTimeout as sleep } from 'node:timers/promises'
import { DelayedError, type Job, WaitingError, Worker } from 'bullmq'
import type { Logger } from 'pino'
import { jobOf, type QueueJob } from '#contracts/job.ts'
import type { RunResult } from '#contracts/run.ts'
import { attempt, type Outcome, RETRY_MS } from './attempt.ts'
import type { JobHandler } from './job-queue.ts'
import { connectWorker, type WorkerClients } from './redis.ts'

/** The queue's name in BullMQ, for whoever looks at it with BullMQ's own tools. */
export const QUEUE_NAME = 'runs'

/** How soon the job of a dead worker is offered again: at most both together, and half of `lockMs`. Milliseconds. */
export type Lease = { readonly lockMs: number; readonly stalledCheckMs: number }

/** A run is without an owner for 15 s at most. */
export const DEFAULT_LEASE: Lease = { lockMs: 10_000, stalledCheckMs: 5_000 }

export type ConsumerDeps = {
  readonly url: string
  readonly prefix: string
  readonly onError: (error: unknown) => void
  readonly lease: Lease
  readonly log?: Logger
}

type BullJob = Job<QueueJob, RunResult | null>

// After the handlers are done: for Redis to take their jobs back, before the connection is cut. Then the lock runs out.
const HAND_BACK_MS = 3_000

const RESTART_MS = 1_000

type BullWorker = Worker<QueueJob, RunResult | null>

type Processor = (job: BullJob, token?: string) => Promise<RunResult | null>

/** By run: what this consumer is working on. */
type Working = Map<string, Promise<Outcome>>

const openWorker = (deps: ConsumerDeps, clients: WorkerClients, processor: Processor, concurrency: number) => {
  const worker = new Worker<QueueJob, RunResult | null>(QUEUE_NAME, processor, {
    connection: clients.main,
    prefix: deps.prefix,
    concurrency,
    autorun: false,
    lockDuration: deps.lease.lockMs,
    stalledInterval: deps.lease.stalledCheckMs,
    // The default fails a job for good when its second worker dies, and tells nobody.
    maxStalledCount: Number.MAX_SAFE_INTEGER,
    // Milliseconds until it fetches again after the connection failed; the default is 15 s.
    runRetryDelay: RESTART_MS,
  })
  return worker.on('error', deps.onError)
}

/** Gives the job back to Redis, now or later, and tells BullMQ that it is no longer ours. */
const putBack = async (
  deps: ConsumerDeps,
  job: BullJob,
  token: string,
  delayMs: number | undefined,
): Promise<never> => {
  try {
    if (delayMs === undefined) await job.moveToWait(token)
    else await job.moveToDelayed(Date.now() + delayMs, token)
  } catch (error) {
    // The lock was lost or Redis emptied: the job is somebody else's, or nobody's, and `reconcile` sees to it.
    deps.onError(error)
  }
  throw delayMs === undefined ? new WaitingError() : new DelayedError()
}

const createProcessor = (
  deps: ConsumerDeps,
  handler: JobHandler,
  stopping: AbortSignal,
  working: Working,
): Processor => {
  // A lock that ran out while Redis was away brings the same job once more: it joins the handler that is still at work.
  const join = (data: QueueJob): Promise<Outcome> => {
    const known = working.get(data.run_id)
    if (known !== undefined) return known
    const outcome = attempt(handler, data, stopping).finally(() => working.delete(data.run_id))
    working.set(data.run_id, outcome)
    return outcome
  }
  return async (job, token = '') => {
    if (stopping.aborted) return putBack(deps, job, token, undefined)
    const outcome = await join(jobOf(job.data))
    if (outcome.kind === 'done') return outcome.result ?? null
    if (stopping.aborted) return putBack(deps, job, token, undefined)
    if (outcome.kind === 'later') return putBack(deps, job, token, outcome.delayMs)
    deps.log?.error({ err: outcome.error, run_id: job.data.run_id }, 'a job handler failed; the job is offered again')
    return putBack(deps, job, token, RETRY_MS)
  }
}

const pause = (ms: number, signal?: AbortSignal) => sleep(ms, undefined, signal && { signal }).catch(() => {})

/** Waits for `work`, but no longer than this. */
const atMost = async (ms: number, work: Promise<unknown>): Promise<void> => {
  const done = new AbortController()
  await Promise.race([work, pause(ms, done.signal)])
  done.abort()
}

/** Rejects when the worker cannot start; a main loop of BullMQ that breaks is begun again. */
const runUntil = async (worker: BullWorker, onError: (error: unknown) => void, stopping: AbortSignal) => {
  await worker.waitUntilReady()
  while (!stopping.aborted) {
    await worker.run().catch(onError)
    await pause(RESTART_MS, stopping)
  }
}

type Serving = { readonly ended: Promise<void>; close(): Promise<void> }

/** One worker, until it cannot start or `stopping` aborts; then its handlers end and its jobs go back, if Redis is there. */
const serve = (
  deps: ConsumerDeps,
  processor: Processor,
  working: Working,
  concurrency: number,
  stopping: AbortSignal,
): Serving => {
  const clients = connectWorker(deps.url, deps.onError)
  const worker = openWorker(deps, clients, processor, concurrency)
  const stopped = new Promise<void>((resolve) => stopping.addEventListener('abort', () => resolve(), { once: true }))
  let closing: Promise<void> | undefined
  const close = () => (closing ??= worker.close().catch(deps.onError))
  const run = async () => {
    try {
      await Promise.race([runUntil(worker, deps.onError, stopping), stopped])
    } finally {
      const closed = close()
      await Promise.allSettled(working.values())
      await atMost(HAND_BACK_MS, closed)
      await clients.end()
      await atMost(HAND_BACK_MS, closed)
    }
  }
  return { ended: run(), close }
}

/** Works on jobs until disposed, through every outage of Redis. */
export const consumeBull = (deps: ConsumerDeps, handler: JobHandler, concurrency: number): AsyncDisposable => {
  const stopping = new AbortController()
  const working: Working = new Map()
  const processor = createProcessor(deps, handler, stopping.signal, working)
  let serving: Serving | undefined
  const supervise = async () => {
    while (!stopping.signal.aborted) {
      serving = serve(deps, processor, working, concurrency, stopping.signal)
      await serving.ended.catch(deps.onError)
      await pause(RESTART_MS, stopping.signal)
    }
  }
  const supervised = supervise()
  return {
    async [Symbol.asyncDispose]() {
      // First no new job, then the word to the handlers: the other way round a finished one would fetch the next.
      void serving?.close()
      stopping.abort(new Error('the consumer is being disposed'))
      await supervised
    },
  }
}
