import { encodeEvent, type SessionEvent } from '#contracts/events.ts'
import type { Run, Session } from '#contracts/run.ts'
import type { Follower, FollowOptions } from '#store/follow.ts'
import type { Store } from '#store/store.ts'
import type { Line as WaitingLine } from './line.ts'
import type { Aside, SseFrame } from './sse.ts'

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

/** Tells a client where its run is in the line, from `queued` to whatever comes next: never behind that. */
const followLine = (line: Line, aside: Aside, queued: string | undefined) => {
  let leave = () => {}
  const join = (runId: string) => {
    leave()
    leave = line.follow(runId, (place) => {
      aside({ event: 'queue', data: JSON.stringify({ run_id: runId, ...place }) })
    })
  }
  if (queued !== undefined) join(queued)
  return {
    see({ event_type, data, run_id }: SessionEvent) {
      if (event_type === 'user_message') return
      if (event_type === 'run_state' && data.state === 'queued') join(run_id)
      else leave()
    },
    [Symbol.dispose]: () => leave(),
  }
}

const DONE = { done: true, value: undefined } as const

/**
 * A watch as frames of an event stream. Not a generator: thousands of idle streams wait here, and each would keep a generator and
 * the promises around it.
 */
export const watchFrames = (
  { follower, line }: { readonly follower: Follower; readonly line: Line },
  { sessionId, after, runId, until, queued }: Watch,
  signal: AbortSignal,
  aside: Aside,
): AsyncIterableIterator<SseFrame, undefined> => {
  const options: FollowOptions = { after, signal, ...(runId === undefined ? {} : { runId }) }
  const events = follower.follow(sessionId, options)[Symbol.asyncIterator]()
  const place = followLine(line, aside, queued)
  let over = false
  const end = async () => {
    over = true
    place[Symbol.dispose]()
    await events.return?.()
    return DONE
  }
  const toFrame = (
    result: IteratorResult<SessionEvent>,
  ): IteratorResult<SseFrame, undefined> | Promise<typeof DONE> => {
    if (result.done) return end()
    const event = result.value
    place.see(event)
    over = event.event_type === 'finish' && event.run_id === until
    return { done: false, value: { id: event.seq, event: event.event_type, data: encodeEvent(event) } }
  }
  return {
    next: () => (over ? end() : events.next().then(toFrame)),
    return: end,
    [Symbol.asyncIterator]() {
      return this
    },
  }
}
