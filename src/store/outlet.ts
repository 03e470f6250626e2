import type { SessionEvent } from '#contracts/events.ts'

type Result = IteratorResult<SessionEvent, undefined>

/**
 * Where events wait for the one who reads them, or the reader for events. A plain value with functions beside it: there is one
 * for each of thousands of idle followers, and closures would be most of what it weighs.
 */
export type Outlet = {
  kept: SessionEvent[]
  waiting: readonly ((result: Result) => void)[]
  closed: boolean
}

export const DONE: Result = { done: true, value: undefined }

const NOTHING: readonly never[] = []

export const createOutlet = (): Outlet => ({ kept: [], waiting: NOTHING, closed: false })

/** To the reader that waits longest, or kept for the next one. */
export const hand = (outlet: Outlet, event: SessionEvent): void => {
  if (outlet.closed) return
  const [resolve, ...others] = outlet.waiting
  if (resolve === undefined) outlet.kept.push(event)
  else {
    outlet.waiting = others.length === 0 ? NOTHING : others
    resolve({ done: false, value: event })
  }
}

/** What waits, or what comes; done once it is closed. */
export const take = (outlet: Outlet): Promise<Result> => {
  const event = outlet.kept.shift()
  if (event !== undefined) return Promise.resolve({ done: false, value: event })
  if (outlet.closed) return Promise.resolve(DONE)
  return new Promise((resolve) => {
    outlet.waiting = [...outlet.waiting, resolve]
  })
}

/** Drops what waits, and ends the reader at once. */
export const close = (outlet: Outlet): void => {
  const { waiting } = outlet
  outlet.closed = true
  outlet.kept = []
  outlet.waiting = NOTHING
  for (const resolve of waiting) resolve(DONE)
}
