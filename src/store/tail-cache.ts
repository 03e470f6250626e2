import type { SessionEvent } from '#contracts/events.ts'
import { createLru } from './lru.ts'

/** What a run's events up to some tail say about its end. */
export type RunFacts = { readonly finish?: SessionEvent | undefined; readonly ending: boolean }

export const NO_FACTS: RunFacts = { ending: false }

/** A session's tail as this process knows it, with facts of some runs that hold up to exactly this tail. */
export type KnownTail = { readonly seq: number; readonly time: number; readonly runs: ReadonlyMap<string, RunFacts> }

/** Runs of one session whose facts are kept: the present one, and late ones of before. */
const MAX_RUNS = 4

/** The same tail with one run more, or with newer facts of it. */
export const withFacts = (
  known: KnownTail,
  runId: string,
  facts: RunFacts,
  seq = known.seq,
  time = known.time,
): KnownTail => {
  const others = [...known.runs].filter(([id]) => id !== runId).slice(1 - MAX_RUNS)
  return { seq, time, runs: new Map([...others, [runId, facts]]) }
}

/** The place of one session in the cache. */
export type TailSlot = {
  known: KnownTail | undefined
  /** One append of a session at a time: two of one process would only clash with each other. */
  alone<T>(work: () => Promise<T>): Promise<T>
}

/** Tails in memory: what is in it may be old, never ahead of the log, so that an old one costs a clash and nothing else. */
export type TailCache = {
  slot(sessionId: string): TailSlot
  /**
   * Call before a run is stored, and what it returns once the run was stored for the first time: nobody can have written
   * an event of it before, so what was known of its session until then holds for the run as well.
   */
  expectRun(sessionId: string, runId: string): () => void
  /** Call when the first run of a session was stored: the log was empty before. */
  openSession(sessionId: string, runId: string): void
  /**
   * Call with what was read of a run, in order, `finish` and whatever else says how it ends among it. Where that is no more than
   * its first events, one behind the other, there was nothing to miss between them: the facts hold up to the last one.
   */
  read(sessionId: string, runId: string, events: readonly SessionEvent[]): void
}

const createSlot = (): TailSlot => {
  let last: Promise<unknown> = Promise.resolve()
  return {
    known: undefined,
    alone(work) {
      const mine = last.then(work)
      last = mine.catch(() => {})
      return mine
    },
  }
}

const isQueued = (first: SessionEvent | undefined, last: SessionEvent): boolean =>
  first?.event_type === 'user_message' &&
  last.event_type === 'run_state' &&
  last.data.state === 'queued' &&
  last.seq === first.seq + 1

export const createTailCache = (maxSessions = 10_000): TailCache => {
  const slots = createLru<string, TailSlot>(maxSessions)
  const slot = (sessionId: string): TailSlot => {
    const found = slots.get(sessionId)
    if (found !== undefined) return found
    const made = createSlot()
    slots.set(sessionId, made)
    return made
  }
  return {
    slot,
    expectRun(sessionId, runId) {
      const before = slots.get(sessionId)?.known
      return () => {
        const found = slots.get(sessionId)
        // Read anew meanwhile: the run may have got events before that.
        if (found?.known === undefined || found.known !== before) return
        found.known = withFacts(found.known, runId, NO_FACTS)
      }
    },
    openSession(sessionId, runId) {
      const found = slot(sessionId)
      found.known ??= { seq: 0, time: 0, runs: new Map([[runId, NO_FACTS]]) }
    },
    read(sessionId, runId, [first, last, ...more]) {
      if (last === undefined || more.length > 0 || !isQueued(first, last)) return
      slot(sessionId).known ??= { seq: last.seq, time: last.timestamp.getTime(), runs: new Map([[runId, NO_FACTS]]) }
    },
  }
}
