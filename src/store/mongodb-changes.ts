import type { ChangeStream, Collection } from 'mongodb'
import type { SessionEvent } from '#contracts/events.ts'
import { createBackOff } from './back-off.ts'
import type { StoreLog } from './mongodb-client.ts'
import type { EventDocument } from './mongodb-event-table.ts'
import type { WakeUps } from './wake-ups.ts'

export type ChangeFeedOptions = {
  readonly events: Collection<EventDocument>
  readonly wakeUps: WakeUps
  readonly log: StoreLog
  /** Resolves when the collection may be watched. */
  readonly ready: () => Promise<unknown>
}

/** One change stream for all sessions of this process. */
export type ChangeFeed = AsyncDisposable & {
  /** Opens it if it is not open; the first one to wait for a session does. */
  start(): void
}

const PIPELINE = [{ $match: { operationType: 'insert' } }]

/** The longest pause between two attempts, milliseconds: meanwhile readers poll. */
const MAX_PAUSE_MS = 5000

export const createChangeFeed = ({ events, wakeUps, log, ready }: ChangeFeedOptions): ChangeFeed => {
  const abort = new AbortController()
  let stream: ChangeStream<EventDocument> | undefined
  let running: Promise<void> | undefined

  const hand = (change: { fullDocument?: EventDocument } | null) => {
    if (change?.fullDocument !== undefined) wakeUps.publish(change.fullDocument as SessionEvent)
  }
  /** Until it breaks. The driver resumes by itself where that can be done. */
  const listen = async (onOpen: () => void) => {
    await ready()
    if (abort.signal.aborted) return
    stream = events.watch<EventDocument, { _id: unknown; fullDocument?: EventDocument }>(
      PIPELINE,
    ) as unknown as ChangeStream<EventDocument>
    try {
      hand((await stream.tryNext()) as { fullDocument?: EventDocument } | null)
      onOpen()
      // Whatever was written before it was open, or while it was broken, is in the log.
      wakeUps.wakeAll()
      for (;;) hand((await stream.next()) as { fullDocument?: EventDocument })
    } finally {
      await stream.close().catch(() => {})
    }
  }
  const run = async () => {
    let backOff = createBackOff({ maxMs: MAX_PAUSE_MS, signal: abort.signal })
    while (!abort.signal.aborted) {
      try {
        await listen(() => {
          backOff = createBackOff({ maxMs: MAX_PAUSE_MS, signal: abort.signal })
        })
      } catch (error) {
        if (abort.signal.aborted) return
        log.warn({ err: error }, 'the change stream broke: opening it again, readers poll meanwhile')
        await backOff.wait()
      }
    }
  }
  return {
    start() {
      running ??= run()
    },
    async [Symbol.asyncDispose]() {
      abort.abort()
      await stream?.close().catch(() => {})
      await running
    },
  }
}
