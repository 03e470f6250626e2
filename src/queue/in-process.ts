import type { Logger } from 'pino'
import { createConsumers } from './in-process-consumers.ts'
import { createJobs } from './in-process-jobs.ts'
import type { JobQueue } from './job-queue.ts'

/**
 * Jobs of one process, in its memory. A restart forgets them: `reconcile` then enqueues again what the run store holds.
 * Disposing it disposes its consumers; afterwards `enqueue` and `ping` reject.
 */
export const createInProcessQueue = ({ log }: { log?: Logger } = {}): JobQueue & AsyncDisposable => {
  const jobs = createJobs()
  const consumers = createConsumers(jobs, log)
  let closed = false
  const mustBeOpen = () => {
    if (closed) throw new Error('the queue of this process is closed')
  }
  // After the caller's own continuation: what it does next must not depend on how fast a handler starts.
  const pumpSoon = () => void setImmediate(consumers.pump)
  return {
    async enqueue(job) {
      mustBeOpen()
      if (jobs.has(job.run_id)) return
      jobs.add(job)
      pumpSoon()
    },
    remove: async (runId) => jobs.remove(runId),
    consume(handler, { concurrency }) {
      mustBeOpen()
      const consumer = consumers.add(handler, concurrency)
      pumpSoon()
      return consumer
    },
    stats: async () => jobs.stats(),
    ping: async () => mustBeOpen(),
    async [Symbol.asyncDispose]() {
      closed = true
      await consumers[Symbol.asyncDispose]()
      jobs.clear()
    },
  }
}
