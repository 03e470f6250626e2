import type { SessionEvent } from '#contracts/events.ts'
import type { EventLog } from './event-log.ts'
import { followFrom } from './follow-one.ts'
import { createPoll } from './follow-poll.ts'
import { openTail, type Tail } from './follow-tail.ts'

export type FollowOptions = {
  /** Events with `seq` greater than this. */
  readonly after: number
  /** Only this run's. */
  readonly runId?: string
  readonly signal: AbortSignal
}

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
 * `open`: followers that are open now.
 * However many follow a session, one tail watches its log.
 */
export type Follower = AsyncDisposable & {
  follow(sessionId: string, options: FollowOptions): AsyncIterable<SessionEvent>
  open(): number
}

type SharedTail = { readonly tail: Tail; users: number }

const noop = () => {}

export const createFollower = (events: EventLog, options: FollowerOptions = {}): Follower => {
  const { pollMs = 2000, onError = noop } = options
  const tails = new Map<string, SharedTail>()
  const ends = new Set<() => void>()
  const poll = createPoll({ events, tails, onError })
  let timer: NodeJS.Timeout | undefined
  let disposed = false

  const acquire = (sessionId: string): Tail => {
    const shared = tails.get(sessionId) ?? { tail: openTail({ events, sessionId, pollMs, onError }), users: 0 }
    shared.users += 1
    tails.set(sessionId, shared)
    timer ??= setInterval(() => void poll(), pollMs)
    return shared.tail
  }
  const release = (sessionId: string) => {
    const shared = tails.get(sessionId)
    if (shared === undefined) return
    shared.users -= 1
    if (shared.users > 0) return
    tails.delete(sessionId)
    shared.tail.close()
    if (tails.size > 0) return
    clearInterval(timer)
    timer = undefined
  }
  const start = (sessionId: string, { after, runId, signal }: FollowOptions): AsyncIterator<SessionEvent> => {
    const tail = acquire(sessionId)
    const { iterator, end } = followFrom({ events, sessionId, after, runId, tail, pollMs, onError }, () => {
      signal.removeEventListener('abort', end)
      ends.delete(end)
      release(sessionId)
    })
    ends.add(end)
    signal.addEventListener('abort', end)
    if (signal.aborted || disposed) end()
    return iterator
  }
  return {
    follow: (sessionId, followOptions) => ({ [Symbol.asyncIterator]: () => start(sessionId, followOptions) }),
    open: () => ends.size,
    async [Symbol.asyncDispose]() {
      disposed = true
      for (const end of [...ends]) end()
    },
  }
}
