import type { SessionEvent } from '#contracts/events.ts'
import { createBackOff } from './back-off.ts'
import type { EventLog } from './event-log.ts'
import type { Tail } from './follow-tail.ts'
import { createOutlet, DONE, type Outlet } from './outlet.ts'

export type FollowFrom = {
  readonly events: EventLog
  readonly sessionId: string
  readonly after: number
  readonly runId: string | undefined
  readonly tail: Tail
  readonly pollMs: number
  readonly onError: (error: unknown) => void
}

const PAGE = 100
/** Events kept for a reader that is busy. Beyond that it leaves the live tail and reads the log itself. */
const MAX_KEPT = 128

/** A reader's place in the log. It is live while it takes what the shared tail hands on. */
const createPlace = ({ events, sessionId, after, runId, tail }: FollowFrom, outlet: Outlet) => {
  let position = after
  let leaveTail: (() => void) | undefined
  const leave = () => {
    leaveTail?.()
    leaveTail = undefined
  }
  const onEvent = (event: SessionEvent) => {
    if (event.seq <= position) return
    position = event.seq
    if (runId !== undefined && event.run_id !== runId) return
    outlet.hand(event)
    if (outlet.kept() >= MAX_KEPT) leave()
  }
  /** `position >= last` is looked at and acted on without an await between, so nothing falls in between. */
  const joinIfThere = () => {
    const last = tail.last()
    if (last !== undefined && position >= last) leaveTail = tail.listen(onEvent)
  }
  /** Reads the next page; joins the tail where the page ends at it. Returns how many events it had. */
  const readPage = async (signal: AbortSignal): Promise<number> => {
    const known = tail.last()
    const page = await events.list(sessionId, { after: position, limit: PAGE, ...(runId && { runId }) })
    if (signal.aborted) return 0
    for (const event of page) {
      position = event.seq
      outlet.hand(event)
    }
    if (page.length === PAGE) return page.length
    // Of the run, all up to what the tail knew was on the page, though the events there may be another run's.
    if (runId !== undefined) position = Math.max(position, known ?? 0)
    joinIfThere()
    return page.length
  }
  return { readPage, leave, isLive: () => leaveTail !== undefined }
}

/**
 * One reader of a session: it reads the log itself until it has caught up with the shared tail, and again when it was too
 * slow for it.
 * Not a generator: `return()` of a generator waits behind a pending `next()`, which on an idle session never comes.
 * @param onEnd called once
 */
export const followFrom = (from: FollowFrom, onEnd: () => void) => {
  const outlet = createOutlet()
  const place = createPlace(from, outlet)
  let reading: AbortController | undefined
  let over = false

  const catchUp = async () => {
    reading = new AbortController()
    const { signal } = reading
    const backOff = createBackOff({ maxMs: from.pollMs, signal })
    while (!over && !place.isLive() && outlet.kept() === 0) {
      try {
        const count = await place.readPage(signal)
        if (from.tail.last() === undefined) await from.tail.ready
        // The tail knows of more than the page had: it was read too early, and the next one will have it.
        else if (count === 0 && !place.isLive()) await backOff.wait()
      } catch (error) {
        if (over) break
        from.onError(error)
        await backOff.wait()
      }
    }
    reading = undefined
  }
  const end = () => {
    if (over) return
    over = true
    reading?.abort()
    place.leave()
    outlet.close()
    onEnd()
  }
  const iterator: AsyncIterator<SessionEvent, undefined> = {
    next() {
      const result = outlet.next()
      if (!over && !place.isLive() && reading === undefined && outlet.kept() === 0) void catchUp()
      return result
    },
    return() {
      end()
      return Promise.resolve(DONE)
    },
  }
  return { iterator, end }
}
