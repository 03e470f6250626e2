import type { SessionEvent } from '#contracts/events.ts'

/** A wake-up: the new event itself, or `undefined` = "look". */
export type WakeUp = SessionEvent | undefined

export type WakeUps = {
  /** Hands the event to those who wait for its session. Call in order of `seq`. */
  publish(event: SessionEvent): void
  /** "Look", to everybody: after a time in which events may have been missed. */
  wakeAll(): void
  /** True while somebody waits for this session: spares making an event that nobody wants. */
  wanted(sessionId: string): boolean
  subscribe(sessionId: string, signal: AbortSignal): AsyncIterable<WakeUp>
}

/** Wake-ups kept for a subscriber that is busy. Beyond that it gets a single "look": it has to list anyway. */
const MAX_KEPT = 64

type Subscriber = { push(wakeUp: WakeUp): void }

const DONE = { done: true, value: undefined } as const

/** Not a generator: `return()` of a generator waits behind a pending `next()`, which here may never come. */
const subscription = (signal: AbortSignal, enter: (me: Subscriber) => () => void): AsyncIterator<WakeUp> => {
  let kept: WakeUp[] = []
  let waiting: ((result: IteratorResult<WakeUp>) => void) | undefined
  let over = false
  const answer = (result: IteratorResult<WakeUp>) => {
    const resolve = waiting
    waiting = undefined
    resolve?.(result)
  }
  const leave = enter({
    push(wakeUp) {
      if (waiting !== undefined) answer({ done: false, value: wakeUp })
      else if (kept.length < MAX_KEPT) kept.push(wakeUp)
      else kept = [undefined]
    },
  })
  const end = () => {
    if (over) return
    over = true
    kept = []
    signal.removeEventListener('abort', end)
    leave()
    answer(DONE)
  }
  signal.addEventListener('abort', end)
  if (signal.aborted) end()
  return {
    next() {
      if (over) return Promise.resolve(DONE)
      if (kept.length > 0) return Promise.resolve({ done: false, value: kept.shift() })
      return new Promise((resolve) => {
        waiting = resolve
      })
    },
    return() {
      end()
      return Promise.resolve(DONE)
    },
  }
}

/** Wake-ups within one process. */
export const createWakeUps = (): WakeUps => {
  const bySession = new Map<string, Set<Subscriber>>()
  const enter = (sessionId: string) => (me: Subscriber) => {
    const all = bySession.get(sessionId) ?? new Set()
    bySession.set(sessionId, all.add(me))
    return () => {
      all.delete(me)
      if (all.size === 0 && bySession.get(sessionId) === all) bySession.delete(sessionId)
    }
  }
  return {
    publish(event) {
      for (const one of bySession.get(event.session_id) ?? []) one.push(event)
    },
    wakeAll() {
      for (const all of bySession.values()) for (const one of all) one.push(undefined)
    },
    wanted: (sessionId) => bySession.has(sessionId),
    subscribe: (sessionId, signal) => ({ [Symbol.asyncIterator]: () => subscription(signal, enter(sessionId)) }),
  }
}
