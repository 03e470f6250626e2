import type { SessionEvent } from '#contracts/events.ts'
import { createBackOff } from './back-off.ts'
import type { EventLog } from './event-log.ts'
import { createSingleFlight } from './single-flight.ts'

export type TailOptions = {
  readonly events: EventLog
  readonly sessionId: string
  /** Pauses after failures grow up to this, milliseconds. */
  readonly pollMs: number
  readonly onError: (error: unknown) => void
}

export type TailListener = (event: SessionEvent) => void

/** The end of one session's log, watched once for all who follow it. */
export type Tail = {
  /** Every event up to here was handed on; `undefined` until the end of the log is known. */
  last(): number | undefined
  /** Resolves when `last` is known, or the tail is closed. */
  readonly ready: Promise<void>
  /** Reads what is there, though nothing woke it. */
  look(): void
  /** From here on the listener is handed every event behind `last`, in order and without gaps, until it leaves. */
  join(listener: TailListener): void
  leave(listener: TailListener): void
  close(): void
}

const PAGE = 200

type Wake = (event: SessionEvent | undefined) => void

/** Until the signal aborts; where the wake-ups break they are asked for again; the poll goes on meanwhile. */
const listenToChanges = async (
  { events, sessionId, pollMs, onError }: TailOptions,
  signal: AbortSignal,
  wake: Wake,
) => {
  const backOff = createBackOff({ maxMs: pollMs, signal })
  while (!signal.aborted) {
    try {
      for await (const event of events.changes(sessionId, signal)) wake(event)
    } catch (error) {
      if (!signal.aborted) onError(error)
    }
    if (!signal.aborted) await backOff.wait()
  }
}

export const openTail = (options: TailOptions): Tail => {
  const { events, sessionId, pollMs, onError } = options
  const abort = new AbortController()
  const { signal } = abort
  const listeners = new Set<TailListener>()
  let last: number | undefined

  const advance = (event: SessionEvent) => {
    last = event.seq
    for (const listener of listeners) listener(event)
  }
  const work = async (): Promise<boolean> => {
    if (last === undefined) {
      last = await events.tail(sessionId)
      return false
    }
    const page = await events.list(sessionId, { after: last, limit: PAGE })
    if (signal.aborted) return false
    // What woke us meanwhile may have gone further than the page.
    for (const event of page) if (event.seq > last) advance(event)
    return page.length === PAGE
  }
  const read = createSingleFlight({ work, signal, maxPauseMs: pollMs, onError })
  const wake: Wake = (event) => {
    if (event === undefined || last === undefined || event.seq > last + 1) void read()
    else if (event.seq === last + 1) advance(event)
  }

  void listenToChanges(options, signal, wake)
  const ready = read()
  return {
    last: () => last,
    ready,
    look: () => void read(),
    join: (listener) => void listeners.add(listener),
    leave: (listener) => void listeners.delete(listener),
    close: () => abort.abort(),
  }
}
