import type { SessionEvent } from '#contracts/events.ts'
import { createBackOff } from './back-off.ts'
import type { EventLog } from './event-log.ts'
import type { Tail, TailListener } from './follow-tail.ts'

/** What all readers of one follower share. */
export type ReaderContext = {
  readonly events: EventLog
  /** Pauses after failures grow up to this, milliseconds. */
  readonly pollMs: number
  readonly onError: (error: unknown) => void
  /** Called once for each reading, when it ends. */
  readonly onEnd: (reading: Reading, sessionId: string) => void
}

export type ReadFrom = {
  readonly sessionId: string
  readonly after: number
  readonly runId: string | undefined
  readonly tail: Tail
}

/** One reader's place in a log. */
export type Reading = {
  /** The next event that is there. `undefined`: none now, `onMore` is called once there is one; or it is over. */
  take(): SessionEvent | undefined
  isOver(): boolean
  /** Ends it at once and drops what waits. Repeatable. */
  close(): void
}

const PAGE = 100
/** Events kept for a reader that is busy. Beyond that it leaves the live tail and reads the log itself. */
const MAX_KEPT = 128

const NOTHING: SessionEvent[] = []

/**
 * A plain value with functions beside it: there is one for each of thousands of idle followers, and closures, promises and
 * generators that wait would be most of what it weighs.
 */
type Reader = {
  readonly context: ReaderContext
  readonly sessionId: string
  readonly runId: string | undefined
  readonly tail: Tail
  readonly onMore: () => void
  readonly listener: TailListener
  position: number
  /** For a reader that is busy; `NOTHING` is never written to. */
  kept: SessionEvent[]
  /** `take` has come back empty: the next event is told of. */
  hungry: boolean
  /** Takes what the shared tail hands on. */
  live: boolean
  /** While it reads the log itself. */
  reading: AbortController | undefined
  over: boolean
}

const leave = (reader: Reader): void => {
  if (reader.live) reader.tail.leave(reader.listener)
  reader.live = false
}

const tell = (reader: Reader): void => {
  if (!reader.hungry) return
  reader.hungry = false
  reader.onMore()
}

const hand = (reader: Reader, event: SessionEvent): void => {
  if (reader.over) return
  if (reader.kept === NOTHING) reader.kept = [event]
  else reader.kept.push(event)
  tell(reader)
}

const onEvent = (reader: Reader, event: SessionEvent): void => {
  if (event.seq <= reader.position) return
  reader.position = event.seq
  if (reader.runId !== undefined && event.run_id !== reader.runId) return
  hand(reader, event)
  if (reader.kept.length >= MAX_KEPT) leave(reader)
}

/** `position >= last` is looked at and acted on without an await between, so nothing falls in between. */
const joinIfThere = (reader: Reader): void => {
  const last = reader.tail.last()
  if (reader.over || last === undefined || reader.position < last) return
  reader.live = true
  reader.tail.join(reader.listener)
}

/** Reads the next page; joins the tail where the page ends at it. Returns how many events it had. */
const readPage = async (reader: Reader, signal: AbortSignal): Promise<number> => {
  const { context, sessionId, runId, tail } = reader
  const known = tail.last()
  const page = await context.events.list(sessionId, { after: reader.position, limit: PAGE, ...(runId && { runId }) })
  if (signal.aborted) return 0
  for (const event of page) {
    reader.position = event.seq
    hand(reader, event)
  }
  if (page.length === PAGE) return page.length
  // Of the run, all up to what the tail knew was on the page, though the events there may be another run's.
  if (runId !== undefined) reader.position = Math.max(reader.position, known ?? 0)
  joinIfThere(reader)
  return page.length
}

const mustRead = ({ over, live, kept }: Reader): boolean => !over && !live && kept.length === 0

const catchUp = async (reader: Reader): Promise<void> => {
  const { context, tail } = reader
  reader.reading = new AbortController()
  const { signal } = reader.reading
  const backOff = createBackOff({ maxMs: context.pollMs, signal })
  while (mustRead(reader)) {
    try {
      const count = await readPage(reader, signal)
      if (tail.last() === undefined) await tail.ready
      // The tail knows of more than the page had: it was read too early, and the next one will have it.
      else if (count === 0 && !reader.live) await backOff.wait()
    } catch (error) {
      if (reader.over) break
      context.onError(error)
      await backOff.wait()
    }
  }
  reader.reading = undefined
}

const take = (reader: Reader): SessionEvent | undefined => {
  const event = reader.kept.shift()
  if (reader.kept.length === 0) reader.kept = NOTHING
  if (event !== undefined) return event
  reader.hungry = !reader.over
  if (reader.reading === undefined && mustRead(reader)) void catchUp(reader)
  return undefined
}

const end = (reader: Reader, reading: Reading): void => {
  if (reader.over) return
  reader.over = true
  reader.reading?.abort()
  leave(reader)
  reader.kept = NOTHING
  reader.context.onEnd(reading, reader.sessionId)
  tell(reader)
}

/**
 * One reader of a session: it reads the log itself until it has caught up with the shared tail, and again when it was too
 * slow for it.
 * @param onMore called after `take` has come back empty, once there is something to take or it is over; must not throw
 */
export const readFrom = (
  context: ReaderContext,
  { sessionId, after, runId, tail }: ReadFrom,
  onMore: () => void,
): Reading => {
  const reader: Reader = {
    context,
    sessionId,
    runId,
    tail,
    onMore,
    listener: (event) => onEvent(reader, event),
    position: after,
    kept: NOTHING,
    hungry: false,
    live: false,
    reading: undefined,
    over: false,
  }
  const reading: Reading = {
    take: () => take(reader),
    isOver: () => reader.over,
    close: () => end(reader, reading),
  }
  return reading
}
