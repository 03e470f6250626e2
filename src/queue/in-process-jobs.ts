import type { QueueJob } from '#contracts/job.ts'
import type { QueueStats } from './job-queue.ts'

/** The jobs of one process by what becomes of them; a run is in one place at most. */
export type Jobs = {
  has(runId: string): boolean
  add(job: QueueJob): void
  /** The next one that waits, now active. */
  take(): QueueJob | undefined
  finish(job: QueueJob): void
  /** From active back to the front. */
  putBack(job: QueueJob): void
  /** From active to waiting, after this many milliseconds; then `onDue`. */
  putOff(job: QueueJob, delayMs: number, onDue: () => void): void
  /** False unless it waited or was put off. */
  remove(runId: string): boolean
  stats(): QueueStats
  clear(): void
}

export const createJobs = (): Jobs => {
  // A Map keeps the order in which keys came.
  let waiting = new Map<string, QueueJob>()
  const active = new Set<string>()
  const delayed = new Map<string, NodeJS.Timeout>()
  return {
    has: (runId) => waiting.has(runId) || active.has(runId) || delayed.has(runId),
    add: (job) => void waiting.set(job.run_id, job),
    take() {
      const job = waiting.values().next().value
      if (job === undefined) return undefined
      waiting.delete(job.run_id)
      active.add(job.run_id)
      return job
    },
    finish: (job) => void active.delete(job.run_id),
    putBack(job) {
      active.delete(job.run_id)
      waiting = new Map([[job.run_id, job], ...waiting])
    },
    putOff(job, delayMs, onDue) {
      active.delete(job.run_id)
      const timer = setTimeout(() => {
        delayed.delete(job.run_id)
        waiting.set(job.run_id, job)
        onDue()
      }, delayMs)
      delayed.set(job.run_id, timer)
    },
    remove(runId) {
      clearTimeout(delayed.get(runId))
      return delayed.delete(runId) || waiting.delete(runId)
    },
    stats: () => ({ waiting: waiting.size, active: active.size, delayed: delayed.size }),
    clear() {
      for (const timer of delayed.values()) clearTimeout(timer)
      waiting.clear()
      delayed.clear()
    },
  }
}
