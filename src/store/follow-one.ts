import type { SessionEvent } from '#contracts/events.ts'
import { createBackOff } from './back-off.ts'
import type { EventLog } from './event-log.ts'
import type { Tail } from './follow-tail.ts'
import { close, createOutlet, DONE, hand, type Outlet, take } from './outlet.ts'

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

/** One reader and its place in the log. It is live while it takes what the shared tail hands on. */
type Reader = {
  readonly from: FollowFrom
  readonly onEnd: () => void
  readonly outlet: Outlet
  position: number
  /** While it is live. */
  leaveTail: (() => void) | undefined
  /** While it reads the log itself. */
  reading: AbortController | undefined
  over: boolean
}

const leave = (reader: Reader): void => {
  reader.leaveTail?.()
  reader.leaveTail = undefined
}

const onEvent = (reader: Reader, event: SessionEvent): void => {
  const { outlet, from } = reader
  if (event.seq <= reader.position) return
  reader.position = event.seq
  if (from.runId !== undefined && event.run_id !== from.runId) return
  hand(outlet, event)
  if (outlet.kept.length >= MAX_KEPT) leave(reader)
}

/** `position >= last` is looked at and acted on without an await between, so nothing falls in between. */
const joinIfThere = (reader: Reader): void => {
  const { tail } = reader.from
  const last = tail.last()
  if (last !== undefined && reader.position >= last) reader.leaveTail = tail.listen((event) => onEvent(reader, event))
}

/** Reads the next page; joins the tail where the page ends at it. Returns how many events it had. */
const readPage = async (reader: Reader, signal: AbortSignal): Promise<number> => {
  const { events, sessionId, runId, tail } = reader.from
  const known = tail.last()
  const page = await events.list(sessionId, { after: reader.position, limit: PAGE, ...(runId && { runId }) })
  if (signal.aborted) return 0
  for (const event of page) {
    reader.position = event.seq
    hand(reader.outlet, event)
  }
  if (page.length === PAGE) return page.length
  // Of the run, all up to what the tail knew was on the page, though the events there may be another run's.
  if (runId !== undefined) reader.position = Math.max(reader.position, known ?? 0)
  joinIfThere(reader)
  return page.length
}

const mustRead = ({ over, leaveTail, outlet }: Reader): boolean =>
  !over && leaveTail === undefined && outlet.kept.length === 0

const catchUp = async (reader: Reader): Promise<void> => {
  const { tail, pollMs, onError } = reader.from
  reader.reading = new AbortController()
  const { signal } = reader.reading
  const backOff = createBackOff({ maxMs: pollMs, signal })
  while (mustRead(reader)) {
    try {
      const count = await readPage(reader, signal)
      if (tail.last() === undefined) await tail.ready
      // The tail knows of more than the page had: it was read too early, and the next one will have it.
      else if (count === 0 && reader.leaveTail === undefined) await backOff.wait()
    } catch (error) {
      if (reader.over) break
      onError(error)
      await backOff.wait()
    }
  }
  reader.reading = undefined
}

const endReader = (reader: Reader): void => {
  if (reader.over) return
  reader.over = true
  reader.reading?.abort()
  leave(reader)
  close(reader.outlet)
  reader.onEnd()
}

/**
 * One reader of a session: it reads the log itself until it has caught up with the shared tail, and again when it was too
 * slow for it.
 * Not a generator: `return()` of a generator waits behind a pending `next()`, which on an idle session never comes.
 * @param onEnd called once
 */
export const followFrom = (from: FollowFrom, onEnd: () => void) => {
  const reader: Reader = {
    from,
    onEnd,
    outlet: createOutlet(),
    position: from.after,
    leaveTail: undefined,
    reading: undefined,
    over: false,
  }
  const end = () => endReader(reader)
  const iterator: AsyncIterator<SessionEvent, undefined> = {
    next() {
      const result = take(reader.outlet)
      if (reader.reading === undefined && mustRead(reader)) void catchUp(reader)
      return result
    },
    return() {
      end()
      return Promise.resolve(DONE)
    },
  }
  return { iterator, end }
}
