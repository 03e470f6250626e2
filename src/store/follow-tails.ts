import type { EventLog } from './event-log.ts'
import { createPoll } from './follow-poll.ts'
import { openTail, type Tail } from './follow-tail.ts'

export type SharedTailsOptions = {
  readonly events: EventLog
  /** How often all tails are looked at though nothing woke them, milliseconds. */
  readonly pollMs: number
  readonly onError: (error: unknown) => void
}

/** The tails that are being followed: one for each session, opened for the first who follows it and closed behind the last. */
export type SharedTails = {
  acquire(sessionId: string): Tail
  /** Once for each `acquire`. */
  release(sessionId: string): void
}

export const createSharedTails = ({ events, pollMs, onError }: SharedTailsOptions): SharedTails => {
  const tails = new Map<string, { readonly tail: Tail; users: number }>()
  const poll = createPoll({ events, tails, onError })
  let timer: NodeJS.Timeout | undefined
  return {
    acquire(sessionId) {
      const shared = tails.get(sessionId) ?? { tail: openTail({ events, sessionId, pollMs, onError }), users: 0 }
      shared.users += 1
      tails.set(sessionId, shared)
      timer ??= setInterval(() => void poll(), pollMs)
      return shared.tail
    },
    release(sessionId) {
      const shared = tails.get(sessionId)
      if (shared === undefined) return
      shared.users -= 1
      if (shared.users > 0) return
      tails.delete(sessionId)
      shared.tail.close()
      if (tails.size > 0) return
      clearInterval(timer)
      timer = undefined
    },
  }
}
