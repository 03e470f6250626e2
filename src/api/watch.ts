import { encodeEvent, type SessionEvent } from '#contracts/events.ts'
import type { Run, Session } from '#contracts/run.ts'
import type { Follower, ReadOptions } from '#store/follow.ts'
import type { Store } from '#store/store.ts'
import type { Line as WaitingLine } from './line.ts'
import { type Aside, type FrameSource, frameText } from './sse.ts'

/** Which part of a session's log a client is shown. */
export type Watch = {
  readonly sessionId: string
  /** Events behind this `seq`; never beyond the end of the log. */
  readonly after: number
  /** Only this run's. */
  readonly runId?: string
  /** The stream ends behind this run's `finish`; without it, never. */
  readonly until?: string
  /** A run that waited for a worker when the client came. */
  readonly queued?: string
}

type Line = Pick<WaitingLine, 'follow'>

const queuedOf = (run: Run | undefined) => (run?.state === 'queued' ? { queued: run.run_id } : {})

/** All of this run, from where it begins in the log to its `finish`. Reads nothing: nothing of it was seen yet. */
export const watchWhole = (run: Run, after: number): Watch => ({
  sessionId: run.session_id,
  after,
  runId: run.run_id,
  until: run.run_id,
  ...queuedOf(run),
})

/**
 * The log up to and with this run's `finish`; `only` leaves the session's other runs out.
 * @returns undefined when nothing can come: the `finish` lies at or before `asked`
 *
 * The tail is read before the marks: a `finish` that is written in between lies behind the tail, and so behind a cursor
 * that was moved back to it, and is not missed.
 */
export const watchRun = async (store: Store, run: Run, asked: number, only: boolean): Promise<Watch | undefined> => {
  const after = Math.min(asked, await store.events.tail(run.session_id))
  const { finish } = await store.events.marks(run.session_id, run.run_id)
  if (finish !== undefined && finish.seq <= after) return undefined
  return {
    sessionId: run.session_id,
    after,
    until: run.run_id,
    ...(only ? { runId: run.run_id } : {}),
    ...queuedOf(run),
  }
}

/** The whole session, over the ends of runs, until the client leaves. */
export const watchSession = async (store: Store, session: Session, asked: number): Promise<Watch> => {
  const { tenant_id, session_id } = session
  const [tail, active] = await Promise.all([store.events.tail(session_id), store.runs.activeRun(tenant_id, session_id)])
  return { sessionId: session_id, after: Math.min(asked, tail), ...queuedOf(active) }
}

/**
 * An event as a frame of an event stream. Made once for all who follow the session: they are handed the same event, one right
 * behind the other.
 */
export type EventFrames = (event: SessionEvent) => Uint8Array

export const createEventFrames = (): EventFrames => {
  let last: SessionEvent | undefined
  let bytes: Uint8Array = new Uint8Array()
  return (event) => {
    if (event === last) return bytes
    bytes = Buffer.from(frameText({ id: event.seq, event: event.event_type, data: encodeEvent(event) }))
    last = event
    return bytes
  }
}

/** Tells a client where its run is in the line, from `queued` to whatever comes next: never behind that. */
const followLine = (line: Line, aside: Aside, runId: string): (() => void) =>
  line.follow(runId, (place) => aside({ event: 'queue', data: JSON.stringify({ run_id: runId, ...place }) }))

export type WatchDeps = { readonly follower: Follower; readonly line: Line; readonly frames: EventFrames }

/** A watch as what an event stream says. */
export const watchSource = (
  { follower, line, frames }: WatchDeps,
  { sessionId, after, runId, until, queued }: Watch,
  onMore: () => void,
  aside: Aside,
): FrameSource => {
  const options: ReadOptions = { after, ...(runId === undefined ? {} : { runId }) }
  const events = follower.read(sessionId, options, onMore)
  let leaveLine = queued === undefined ? undefined : followLine(line, aside, queued)
  let over = false
  const see = ({ event_type, data, run_id }: SessionEvent) => {
    if (event_type === 'user_message') return
    leaveLine?.()
    leaveLine = event_type === 'run_state' && data.state === 'queued' ? followLine(line, aside, run_id) : undefined
    over = event_type === 'finish' && run_id === until
  }
  return {
    next() {
      if (over) return 'end'
      const event = events.take()
      if (event === undefined) return events.isOver() ? 'end' : undefined
      see(event)
      return frames(event)
    },
    close() {
      leaveLine?.()
      events.close()
    },
  }
}
