import type { QueueJob } from '#contracts/job.ts'
import type { RunResult } from '#contracts/run.ts'

/** What a handler makes of a job. */
export type JobOutcome =
  /** Over: the result is kept as the job's return value where the queue has one. */
  | { readonly kind: 'done'; readonly result?: RunResult }
  /** Not now, not here: offer it again (to any worker) after this many milliseconds. */
  | { readonly kind: 'later'; readonly delayMs: number }

/** `signal` aborts when the consumer is being disposed: hand the job back by returning `later` or by rejecting. */
export type JobHandler = (job: QueueJob, signal: AbortSignal) => Promise<JobOutcome>

export type QueueStats = { readonly waiting: number; readonly active: number; readonly delayed: number }

/**
 * Port: hints that there is work. Jobs may be lost, doubled or late: that changes time and nothing else, because the
 * run document says what is true and `reconcile` enqueues what has no job.
 *
 * `enqueue`: idempotent on `run_id` while a job of it waits or is worked on; a job that is over is replaced. `isNew`: the
 *   caller knows that this run was never enqueued, which saves the queue a look. First in,
 *   first out as far as the queue can tell. Rejects at once when the queue cannot be reached.
 * `remove`: true = it was still waiting and is gone. An active job is left alone.
 * `consume`: up to `concurrency` handlers at a time. A handler that rejects has its job offered again, after a pause. When a worker
 *   dies its jobs are offered again, however often that happens (within 15 s where the queue is shared). Disposing takes nothing new, aborts
 *   the handlers' signal, waits for them, and hands back what they did not finish.
 * `ping`: rejects when the queue cannot be reached.
 */
export interface JobQueue {
  enqueue(job: QueueJob, options?: { readonly isNew?: boolean }): Promise<void>
  remove(runId: string): Promise<boolean>
  consume(handler: JobHandler, options: { concurrency: number }): AsyncDisposable
  stats(): Promise<QueueStats>
  ping(): Promise<void>
}
