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
  // A Map keeps the order in which keys came; what was put back is before all of it, the last one first.
  const waiting = new Map<string, QueueJob>()
  const front = new Map<string, QueueJob>()
  const active = new Set<string>()
  const delayed = new Map<string, NodeJS.Timeout>()
  return {
    has: (runId) => [waiting, front, active, delayed].some((place) => place.has(runId)),
    add: (job) => void waiting.set(job.run_id, job),
    take() {
      const job = [...front.values()].at(-1) ?? waiting.values().next().value
      if (job === undefined) return undefined
      if (!front.delete(job.run_id)) waiting.delete(job.run_id)
      active.add(job.run_id)
      return job
    },
    finish: (job) => void active.delete(job.run_id),
    putBack(job) {
      active.delete(job.run_id)
      front.set(job.run_id, job)
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
      return delayed.delete(runId) || waiting.delete(runId) || front.delete(runId)
    },
    stats: () => ({ waiting: waiting.size + front.size, active: active.size, delayed: delayed.size }),
    clear() {
      for (const timer of delayed.values()) clearTimeout(timer)
      delayed.clear()
      waiting.clear()
      front.clear()
    },
  }
}
