import type { SessionEvent } from '#contracts/events.ts'
import type { EventLog } from './event-log.ts'
import { iterate } from './follow-iterator.ts'
import { type ReaderContext, type Reading, readFrom } from './follow-one.ts'
import { createSharedTails } from './follow-tails.ts'

export type ReadOptions = {
  /** Events with `seq` greater than this. */
  readonly after: number
  /** Only this run's. */
  readonly runId?: string
}

export type FollowOptions = ReadOptions & { readonly signal: AbortSignal }

export type FollowerOptions = {
  /** How often a session's log is looked at though nothing woke us, milliseconds. */
  readonly pollMs?: number
  /** Told of each failure of the store; following goes on by itself. */
  readonly onError?: (error: unknown) => void
}

/**
 * Live tails over the event-log port, for the API's clients and for the worker alike.
 *
 * `follow`: every event behind `after`, in order, each once: first what is stored, then what comes. It never ends by
 *   itself and never rejects: an outage of the store is waited out. It ends when `signal` aborts, when the reader
 *   returns (at once, though nothing comes), or when the follower is disposed. A slow reader misses nothing and holds
 *   little memory: what it has no room for is read again from the log.
 * `read`: the same without promises, for thousands that wait: who reads takes what is there, and is called when there is more. It
 *   is over when it is closed or the follower is disposed.
 * `open`: followers that are open now.
 * However many follow a session, one tail watches its log.
 */
export type Follower = AsyncDisposable & {
  follow(sessionId: string, options: FollowOptions): AsyncIterable<SessionEvent>
  /** @param onMore after `take` came back empty: once there is something to take, or it is over. Must not throw. */
  read(sessionId: string, options: ReadOptions, onMore: () => void): Reading
  open(): number
}

const noop = () => {}

export const createFollower = (events: EventLog, options: FollowerOptions = {}): Follower => {
  const { pollMs = 2000, onError = noop } = options
  const tails = createSharedTails({ events, pollMs, onError })
  const open = new Set<Reading>()
  let disposed = false

  const onEnd = (reading: Reading, sessionId: string) => {
    open.delete(reading)
    tails.release(sessionId)
  }
  const context: ReaderContext = { events, pollMs, onError, onEnd }
  const read: Follower['read'] = (sessionId, { after, runId }, onMore) => {
    const reading = readFrom(context, { sessionId, after, runId, tail: tails.acquire(sessionId) }, onMore)
    open.add(reading)
    if (disposed) reading.close()
    return reading
  }
  const start = (sessionId: string, { signal, ...rest }: FollowOptions): AsyncIterator<SessionEvent> =>
    iterate((onMore) => {
      const reading = read(sessionId, rest, onMore)
      const close = () => {
        signal.removeEventListener('abort', close)
        reading.close()
      }
      signal.addEventListener('abort', close)
      if (signal.aborted) close()
      return { ...reading, close }
    })
  return {
    follow: (sessionId, followOptions) => ({ [Symbol.asyncIterator]: () => start(sessionId, followOptions) }),
    read,
    open: () => open.size,
    async [Symbol.asyncDispose]() {
      disposed = true
      for (const reading of [...open]) reading.close()
    },
  }
}
