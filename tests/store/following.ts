import type { RunRef, SessionEvent } from '#contracts/events.ts'
import { delta } from '../conformance/store-world.ts'

export const never = () => new AbortController().signal
export const words = (ref: RunRef, from: number, to: number) =>
  Array.from({ length: to - from }, (_, i) => delta(ref, from + i))
export const seqs = (events: readonly SessionEvent[]) => events.map((event) => event.seq)
export const range = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, i) => from + i)

/** Reads on until the event at `seq` has come. */
export const readTo = async (events: AsyncIterable<SessionEvent>, seq: number): Promise<SessionEvent[]> => {
  const got: SessionEvent[] = []
  for await (const event of events) {
    got.push(event)
    if (event.seq >= seq) break
  }
  return got
}

/** The store has no say in when nothing wakes it: a poll that never comes. */
export const NO_POLL = 3_600_000
