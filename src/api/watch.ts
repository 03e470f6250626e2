import { encodeEvent } from '#contracts/events.ts'
import type { Run } from '#contracts/run.ts'
import type { Follower, FollowOptions } from '#store/follow.ts'
import type { Store } from '#store/store.ts'
import type { SseFrame } from './sse.ts'

/** Which part of a session's log a client is shown. */
export type Watch = {
  readonly sessionId: string
  /** Events behind this `seq`; never beyond the end of the log. */
  readonly after: number
  /** Only this run's. */
  readonly runId?: string
  /** The stream ends behind this run's `finish`; without it, never. */
  readonly until?: string
}

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
  return { sessionId: run.session_id, after, until: run.run_id, ...(only ? { runId: run.run_id } : {}) }
}

/** The whole session, over the ends of runs, until the client leaves. */
export const watchSession = async (store: Store, sessionId: string, asked: number): Promise<Watch> => ({
  sessionId,
  after: Math.min(asked, await store.events.tail(sessionId)),
})

/** A watch as frames of an event stream. */
export const watchFrames = async function* (
  follower: Follower,
  { sessionId, after, runId, until }: Watch,
  signal: AbortSignal,
): AsyncGenerator<SseFrame> {
  const options: FollowOptions = { after, signal, ...(runId === undefined ? {} : { runId }) }
  for await (const event of follower.follow(sessionId, options)) {
    yield { id: event.seq, event: event.event_type, data: encodeEvent(event) }
    if (event.event_type === 'finish' && event.run_id === until) return
  }
}
