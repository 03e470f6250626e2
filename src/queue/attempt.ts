import type { QueueJob } from '#contracts/job.ts'
import type { JobHandler, JobOutcome } from './job-queue.ts'

/** Milliseconds before a job whose handler rejected is offered again. */
export const RETRY_MS = 1_000

export type Outcome = JobOutcome | { readonly kind: 'rejected'; readonly error: unknown }

/** Calls the handler; that it rejects (or throws) is an outcome like any other. */
export const attempt = async (handler: JobHandler, job: QueueJob, signal: AbortSignal): Promise<Outcome> => {
  try {
    return await handler(job, signal)
  } catch (error) {
    return { kind: 'rejected', error }
  }
}
