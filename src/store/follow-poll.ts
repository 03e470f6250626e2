import type { EventLog } from './event-log.ts'
import type { Tail } from './follow-tail.ts'

export type PollOptions = {
  readonly events: EventLog
  readonly tails: ReadonlyMap<string, { readonly tail: Tail }>
  readonly onError: (error: unknown) => void
}

/** Sessions in one question to the store. */
const MAX_PLACES = 100

/** Asks the store which of many tails are behind, a few questions for all: thousands of idle sessions cost next to nothing. */
const lookAtAll = async (grown: NonNullable<EventLog['grown']>, tails: PollOptions['tails']): Promise<void> => {
  const places = [...tails].flatMap(([sessionId, { tail }]) => {
    const last = tail.last()
    return last === undefined ? [] : [[sessionId, last] as const]
  })
  for (let i = 0; i < places.length; i += MAX_PLACES) {
    for (const sessionId of await grown(new Map(places.slice(i, i + MAX_PLACES)))) tails.get(sessionId)?.tail.look()
  }
}

/** The net under the wake-ups. Returns one look at all tails; while one is under way another does nothing. */
export const createPoll = ({ events, tails, onError }: PollOptions): (() => Promise<void>) => {
  let looking = false
  return async () => {
    if (looking) return
    if (events.grown === undefined) {
      for (const { tail } of tails.values()) tail.look()
      return
    }
    looking = true
    try {
      await lookAtAll((places) => events.grown?.(places) ?? Promise.resolve([]), tails)
    } catch (error) {
      onError(error)
    } finally {
      looking = false
    }
  }
}
