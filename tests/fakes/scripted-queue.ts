import type { QueueJob } from '#contracts/job.ts'
import type { JobHandler, JobOutcome, JobQueue } from '#queue/job-queue.ts'

/** A queue that forgets, doubles and is late as a test says, and remembers what it was told. */
export type ScriptedQueue = JobQueue &
  AsyncDisposable & {
    /** FLUSHALL: every job is forgotten; handlers that work on one go on. */
    forget(): void
    /** How often each enqueued job is offered; default 1. */
    copies: number
    /** While true nothing is offered. */
    held: boolean
    offer(): void
    /** The consumer's process is dead or silent: what it works on is offered to others, and it gets nothing more. */
    abandon(consumer: AsyncDisposable): void
    readonly outcomes: readonly { readonly runId: string; readonly outcome: JobOutcome }[]
  }

const RETRY_MS = 20

type Consumer = {
  readonly handler: JobHandler
  readonly places: number
  readonly stop: AbortController
  readonly active: Map<Promise<void>, QueueJob>
}

export const createScriptedQueue = (): ScriptedQueue => {
  const waiting: QueueJob[] = []
  const delayed = new Map<NodeJS.Timeout, QueueJob>()
  const consumers = new Map<AsyncDisposable, Consumer>()
  const outcomes: { runId: string; outcome: JobOutcome }[] = []

  const known = (runId: string): boolean =>
    [...waiting, ...delayed.values(), ...[...consumers.values()].flatMap(({ active }) => [...active.values()])].some(
      (job) => job.run_id === runId,
    )
  const later = (job: QueueJob, ms: number): void => {
    const timer = setTimeout(() => {
      delayed.delete(timer)
      waiting.push(job)
      self.offer()
    }, ms)
    delayed.set(timer, job)
  }
  const work = async (consumer: Consumer, job: QueueJob): Promise<void> => {
    try {
      const outcome = await consumer.handler(job, consumer.stop.signal)
      outcomes.push({ runId: job.run_id, outcome })
      if (outcome.kind === 'later') later(job, outcome.delayMs)
    } catch {
      later(job, RETRY_MS)
    }
  }
  const take = (consumer: Consumer): void => {
    while (!self.held && !consumer.stop.signal.aborted && consumer.active.size < consumer.places) {
      const job = waiting.shift()
      if (job === undefined) return
      const working: Promise<void> = work(consumer, job).finally(() => {
        consumer.active.delete(working)
        self.offer()
      })
      consumer.active.set(working, job)
    }
  }

  const self: ScriptedQueue = {
    copies: 1,
    held: false,
    outcomes,
    offer() {
      for (const consumer of consumers.values()) take(consumer)
    },
    forget() {
      waiting.length = 0
      for (const timer of delayed.keys()) clearTimeout(timer)
      delayed.clear()
    },
    abandon(handle) {
      const consumer = consumers.get(handle)
      consumers.delete(handle)
      waiting.push(...(consumer?.active.values() ?? []))
      self.offer()
    },
    async enqueue(job) {
      if (known(job.run_id)) return
      for (let n = 0; n < self.copies; n++) waiting.push(job)
      self.offer()
    },
    async remove(runId) {
      const found = waiting.findIndex((job) => job.run_id === runId)
      if (found >= 0) waiting.splice(found, 1)
      return found >= 0
    },
    consume(handler, { concurrency }) {
      const consumer: Consumer = { handler, places: concurrency, stop: new AbortController(), active: new Map() }
      const handle: AsyncDisposable = {
        async [Symbol.asyncDispose]() {
          consumer.stop.abort()
          await Promise.all(consumer.active.keys())
          consumers.delete(handle)
        },
      }
      consumers.set(handle, consumer)
      take(consumer)
      return handle
    },
    async stats() {
      const active = [...consumers.values()].reduce((sum, one) => sum + one.active.size, 0)
      return { waiting: waiting.length, active, delayed: delayed.size }
    },
    async ping() {},
    async [Symbol.asyncDispose]() {
      self.held = true
      self.forget()
    },
  }
  return self
}
