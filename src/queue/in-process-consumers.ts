import type { Logger } from 'pino'
import type { QueueJob } from '#contracts/job.ts'
import { attempt, RETRY_MS } from './attempt.ts'
import type { Jobs } from './in-process-jobs.ts'
import type { JobHandler } from './job-queue.ts'

type Consumer = {
  readonly handler: JobHandler
  readonly concurrency: number
  readonly stopping: AbortController
  readonly working: Set<Promise<void>>
}

export type Consumers = AsyncDisposable & {
  add(handler: JobHandler, concurrency: number): AsyncDisposable
  /** Gives jobs that wait to consumers that are free. */
  pump(): void
}

const isFree = ({ stopping, working, concurrency }: Consumer) => !stopping.signal.aborted && working.size < concurrency

const stop = async (consumer: Consumer): Promise<void> => {
  consumer.stopping.abort(new Error('the consumer is being disposed'))
  await Promise.all(consumer.working)
}

export const createConsumers = (jobs: Jobs, log?: Logger): Consumers => {
  const consumers = new Set<Consumer>()

  const work = async ({ handler, stopping: { signal } }: Consumer, job: QueueJob) => {
    const outcome = await attempt(handler, job, signal)
    if (outcome.kind === 'done') return jobs.finish(job)
    if (signal.aborted) return jobs.putBack(job)
    if (outcome.kind === 'later') return jobs.putOff(job, outcome.delayMs, pump)
    log?.error({ err: outcome.error, run_id: job.run_id }, 'a job handler failed; the job is offered again')
    jobs.putOff(job, RETRY_MS, pump)
  }

  const pump = () => {
    for (;;) {
      const consumer = [...consumers].find(isFree)
      const job = consumer && jobs.take()
      if (consumer === undefined || job === undefined) return
      const done: Promise<void> = work(consumer, job).finally(() => {
        consumer.working.delete(done)
        pump()
      })
      consumer.working.add(done)
    }
  }

  return {
    add(handler, concurrency) {
      const consumer: Consumer = { handler, concurrency, stopping: new AbortController(), working: new Set() }
      consumers.add(consumer)
      return {
        async [Symbol.asyncDispose]() {
          await stop(consumer)
          consumers.delete(consumer)
        },
      }
    },
    pump,
    async [Symbol.asyncDispose]() {
      await Promise.all([...consumers].map(stop))
      consumers.clear()
    },
  }
}
