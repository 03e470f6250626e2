import type { SessionEvent } from '#contracts/events.ts'

type Result = IteratorResult<SessionEvent, undefined>

/** Where events wait for the one who reads them, or the reader for events. */
export type Outlet = {
  hand(event: SessionEvent): void
  /** Events that wait. */
  kept(): number
  /** What waits, or what comes; done once it is closed. */
  next(): Promise<Result>
  /** Drops what waits, and ends the reader at once. */
  close(): void
}

export const DONE: Result = { done: true, value: undefined }

export const createOutlet = (): Outlet => {
  let kept: SessionEvent[] = []
  let waiting: ((result: Result) => void)[] = []
  let closed = false
  return {
    hand(event) {
      if (closed) return
      const resolve = waiting.shift()
      if (resolve === undefined) kept.push(event)
      else resolve({ done: false, value: event })
    },
    kept: () => kept.length,
    next() {
      const event = kept.shift()
      if (event !== undefined) return Promise.resolve({ done: false, value: event })
      if (closed) return Promise.resolve(DONE)
      return new Promise((resolve) => waiting.push(resolve))
    },
    close() {
      closed = true
      kept = []
      for (const resolve of waiting) resolve(DONE)
      waiting = []
    },
  }
}
