import type { FastifyBaseLogger } from 'fastify'
import { jobOf, type QueueJob } from '#contracts/job.ts'
import type { JobQueue } from '#queue/job-queue.ts'
import { within } from './within.ts'

/** How long an answer waits for the queue, milliseconds. */
const HINT_MS = 2_000

const RETRY_MS = 1_000

/** Hints kept for a queue that is away: one does for any run, so that no more are needed than there are workers. */
const MAX_KEPT = 1_000

export type Hints = Disposable & {
  /**
   * Tells the workers that there is work. What was accepted stands without it: a queue that is away is told when it is back, and
   * should this process be gone by then, `reconcile` does it. `isNew`: the run was never enqueued.
   */
  give(run: QueueJob, isNew?: boolean): Promise<void>
}

export const createHints = (queue: JobQueue, log: FastifyBaseLogger, retryMs = RETRY_MS): Hints => {
  const kept = new Map<string, QueueJob>()
  let timer: NodeJS.Timeout | undefined
  let closed = false

  const giveKept = async (): Promise<void> => {
    try {
      for (const [id, job] of kept) {
        await queue.enqueue(job)
        kept.delete(id)
      }
      log.info('the queue is back, and has the hints that it missed')
    } catch {
      // Still away: why was said when it did not take the first one.
    } finally {
      timer = undefined
      retryLater()
    }
  }
  const retryLater = (): void => {
    if (closed || kept.size === 0 || timer !== undefined) return
    timer = setTimeout(() => void giveKept(), retryMs)
    timer.unref()
  }

  return {
    async give(run, isNew = false) {
      const job = jobOf(run)
      try {
        await within(HINT_MS, queue.enqueue(job, { isNew }))
      } catch (error) {
        log.warn(
          { err: error, run_id: job.run_id },
          'the queue did not take the hint; it gets it again when it is back',
        )
        if (kept.size < MAX_KEPT) kept.set(job.run_id, job)
        retryLater()
      }
    },
    [Symbol.dispose]() {
      closed = true
      clearTimeout(timer)
    },
  }
}
