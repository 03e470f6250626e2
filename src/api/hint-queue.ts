import type { FastifyBaseLogger } from 'fastify'
import type { Run } from '#contracts/run.ts'
import type { JobQueue } from '#queue/job-queue.ts'
import { within } from './within.ts'

/** How long an answer waits for the queue, milliseconds. */
const HINT_MS = 2_000

/**
 * Tells the workers that there is work. What was accepted stands without it: the queue is a hint, and `reconcile`
 * enqueues what has no job, so that an outage costs time and nothing else.
 */
export const hintQueue = async (queue: JobQueue, run: Run, log: FastifyBaseLogger, isNew = false): Promise<void> => {
  try {
    await within(HINT_MS, queue.enqueue({ run_id: run.run_id, session_id: run.session_id }, { isNew }))
  } catch (error) {
    log.warn({ err: error, run_id: run.run_id }, 'the queue did not take the hint; reconcile will give it again')
  }
}
