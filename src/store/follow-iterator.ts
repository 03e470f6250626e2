import type { SessionEvent } from '#contracts/events.ts'
import type { Reading } from './follow-one.ts'

type Result = IteratorResult<SessionEvent, undefined>

const DONE: Result = { done: true, value: undefined }

/**
 * A reading as an iterator, for who waits for one event after the other.
 * Not a generator: `return()` of a generator waits behind a pending `next()`, which on an idle session never comes.
 * @param open called at once; what it is given is the reading's `onMore`
 */
export const iterate = (open: (onMore: () => void) => Reading): AsyncIterator<SessionEvent, undefined> => {
  const waiting: ((result: Result) => void)[] = []
  const answer = () => {
    while (waiting.length > 0) {
      const event = reading.take()
      if (event === undefined && !reading.isOver()) return
      if (event === undefined) reading.close()
      waiting.shift()?.(event === undefined ? DONE : { done: false, value: event })
    }
  }
  const reading = open(answer)
  return {
    next: () =>
      new Promise((resolve) => {
        waiting.push(resolve)
        answer()
      }),
    return() {
      reading.close()
      return Promise.resolve(DONE)
    },
  }
}
