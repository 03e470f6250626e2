import { Queue } from 'bullmq'
import type { Redis } from 'ioredis'
import type { Logger } from 'pino'
import type { QueueJob } from '#contracts/job.ts'
import type { RunResult } from '#contracts/run.ts'
import { consumeBull, DEFAULT_LEASE, type Lease, QUEUE_NAME } from './bullmq-consumer.ts'
import type { JobQueue, QueueStats } from './job-queue.ts'
import { connectProducer, createComplaint, mustBeConnected } from './redis.ts'

export type BullQueueOptions = {
  readonly url: string
  /** Of every key in Redis: two installations may share one. */
  readonly prefix: string
  readonly log?: Logger
  readonly lease?: Lease
}

// A job that is over is kept for who asks BullMQ for its return value; the run store keeps the same for good.
const KEPT = { age: 24 * 3600, count: 10_000 }

const WAITING = new Set(['waiting', 'delayed', 'prioritized'])

type BullQueue = Queue<QueueJob, RunResult | null>

const openQueue = (client: Redis, prefix: string, onError: (error: unknown) => void): BullQueue => {
  // BullMQ asks for the version once, on a connection that may break just then, and the queue would stay broken for good.
  const options = { connection: client, prefix, skipVersionCheck: true }
  return new Queue<QueueJob, RunResult | null>(QUEUE_NAME, options).on('error', onError)
}

const add = (queue: BullQueue, job: QueueJob) =>
  queue.add('run', job, { jobId: job.run_id, removeOnComplete: KEPT, removeOnFail: KEPT })

const enqueue = async (queue: BullQueue, job: QueueJob, isNew: boolean): Promise<void> => {
  // BullMQ ignores the id of a job it still knows, also of one that is over.
  const added = await add(queue, job)
  if (isNew) return
  // Not its state: to tell that BullMQ looks through all jobs that wait.
  const known = await queue.getJob(job.run_id)
  const isAdded = known?.timestamp === added.timestamp
  if (isAdded || known?.finishedOn === undefined) return
  await known.remove()
  await add(queue, job)
}

const remove = async (queue: BullQueue, runId: string): Promise<boolean> =>
  WAITING.has(await queue.getJobState(runId)) && (await queue.remove(runId)) === 1

const stats = async (queue: BullQueue): Promise<QueueStats> => {
  const { waiting = 0, active = 0, delayed = 0 } = await queue.getJobCounts('waiting', 'active', 'delayed')
  return { waiting, active, delayed }
}

/**
 * Jobs in Redis, by BullMQ. Opens without waiting for Redis: calls reject while it is away, consumers go on by themselves
 * when it is there. The job's id is the run's.
 */
export const openBullQueue = (options: BullQueueOptions): JobQueue & AsyncDisposable => {
  const { url, prefix, lease = DEFAULT_LEASE, log } = options
  const onError = createComplaint(log, url)
  const client = connectProducer(url, onError)
  const queue = openQueue(client, prefix, onError)
  const consumers = new AsyncDisposableStack()
  const whenConnected = async <T>(call: () => Promise<T>): Promise<T> => {
    await mustBeConnected(client, url)
    return call()
  }
  return {
    enqueue: (job, { isNew = false } = {}) => whenConnected(() => enqueue(queue, job, isNew)),
    remove: (runId) => whenConnected(() => remove(queue, runId)),
    stats: () => whenConnected(() => stats(queue)),
    ping: () => whenConnected(async () => void (await client.ping())),
    consume: (handler, { concurrency }) =>
      consumers.use(consumeBull({ url, prefix, onError, lease, ...(log && { log }) }, handler, concurrency)),
    async [Symbol.asyncDispose]() {
      await consumers.disposeAsync()
      await queue.close()
      client.disconnect()
    },
  }
}
