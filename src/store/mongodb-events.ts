import type { Collection, MongoClient } from 'mongodb'
import type { SessionEvent } from '#contracts/events.ts'
import { createAppend } from './append.ts'
import type { EventLog } from './event-log.ts'
import { MARK_TYPES, marksOf } from './marks.ts'
import { createChangeFeed } from './mongodb-changes.ts'
import { reachMongo, type StoreLog } from './mongodb-client.ts'
import { createMongoEventTable, type EventDocument } from './mongodb-event-table.ts'
import { createTailCache, type TailCache } from './tail-cache.ts'
import { createWakeUps } from './wake-ups.ts'

export type MongoEventsOptions = {
  readonly client: MongoClient
  readonly events: Collection<EventDocument>
  readonly tails?: TailCache
  readonly log: StoreLog
  /** Awaited before every operation: resolves when the indexes are there. */
  readonly ready: () => Promise<unknown>
}

const grown = async (events: Collection<EventDocument>, places: ReadonlyMap<string, number>): Promise<string[]> => {
  if (places.size === 0) return []
  const behind = [...places].map(([session_id, seq]) => ({ session_id, seq: { $gt: seq } }))
  // Covered by the index; a session that has grown by more than the limit hides others only until the next look.
  const found = events.find({ $or: behind }, { projection: { _id: 0, session_id: 1 } }).limit(10 * places.size)
  return [...new Set((await found.toArray()).map((event) => event.session_id))]
}

/** The event log in MongoDB. Disposing ends the change stream; the client is the caller's. */
export const createMongoEvents = (options: MongoEventsOptions): EventLog & AsyncDisposable => {
  const { client, events, log, ready, tails = createTailCache() } = options
  const wakeUps = createWakeUps()
  const feed = createChangeFeed({ events, wakeUps, log, ready })
  const append = createAppend(createMongoEventTable(client, events), tails)
  const reach = <T>(work: () => Promise<T>): Promise<T> =>
    reachMongo(async () => {
      await ready()
      return work()
    })
  return {
    append: (sessionId, newEvents, appendOptions) => reach(() => append(sessionId, newEvents, appendOptions)),
    list: (sessionId, { after, limit, runId }) =>
      reach(async () => {
        const filter = { session_id: sessionId, seq: { $gt: after } }
        const found = events.find(runId === undefined ? filter : { ...filter, run_id: runId })
        return (await found.sort({ seq: 1 }).limit(limit).toArray()) as SessionEvent[]
      }),
    marks: (sessionId, runId) =>
      reach(async () => {
        const filter = { run_id: runId, event_type: { $in: MARK_TYPES }, session_id: sessionId }
        const found = (await events.find(filter).sort({ seq: 1 }).toArray()) as SessionEvent[]
        tails.read(sessionId, runId, found)
        return marksOf(found)
      }),
    finished: (runIds) =>
      reach(async () => {
        if (runIds.length === 0) return new Set()
        const found = events.find({ run_id: { $in: [...runIds] }, event_type: 'finish' })
        return new Set(
          (await found.project<{ run_id: string }>({ _id: 0, run_id: 1 }).toArray()).map((one) => one.run_id),
        )
      }),
    tail: (sessionId) =>
      reach(async () => {
        const projection = { _id: 0, seq: 1 }
        return (await events.findOne({ session_id: sessionId }, { sort: { seq: -1 }, projection }))?.seq ?? 0
      }),
    grown: (places) => reach(() => grown(events, places)),
    changes(sessionId, signal) {
      feed.start()
      return wakeUps.subscribe(sessionId, signal)
    },
    [Symbol.asyncDispose]: () => feed[Symbol.asyncDispose](),
  }
}
