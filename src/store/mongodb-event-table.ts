import type { ClientSession, Collection, MongoClient } from 'mongodb'
import type { SessionEvent } from '#contracts/events.ts'
import type { EventTable } from './append.ts'
import { isEnding } from './append-plan.ts'
import { createBatcher, type Outcome } from './batcher.ts'
import { duplicatesOf, isOutOfReach } from './mongodb-client.ts'
import { toStorable } from './storable.ts'

/** An event as it lies in the collection: the same fields, for every type. */
export type EventDocument = { readonly [K in keyof SessionEvent]: SessionEvent[K] }

type Events = Collection<EventDocument>

/** The fields that say how a run ends; a `user_message` may be long and is not read for it. */
const FACT_TYPES = ['cancel_requested', 'run_state', 'finish'] as const

const reader = (client: MongoClient, events: Events) => {
  // Causally consistent: the facts are not older than the tail, even when another server has become primary in between.
  let session: ClientSession | undefined
  const options = () => {
    session ??= client.startSession({ causalConsistency: true })
    return { session }
  }
  return {
    async tail(sessionId: string) {
      const projection = { _id: 0, seq: 1, timestamp: 1 }
      const last = await events.findOne({ session_id: sessionId }, { sort: { seq: -1 }, projection, ...options() })
      return last === null ? { seq: 0, time: 0 } : { seq: last.seq, time: last.timestamp.getTime() }
    },
    async facts(_sessionId: string, runId: string) {
      const found = await events
        .find({ run_id: runId, event_type: { $in: FACT_TYPES } }, options())
        .map((event) => event as SessionEvent)
        .toArray()
      return { finish: found.find((event) => event.event_type === 'finish'), ending: found.some(isEnding) }
    },
    async places(ids: readonly string[]) {
      const found = await events.find({ _id: { $in: ids } }, { projection: { seq: 1 }, ...options() }).toArray()
      return new Map(found.map((event) => [event._id, event.seq]))
    },
    [Symbol.asyncDispose]: async () => session?.endSession(),
  }
}

/**
 * One ordered write for several groups. The server stops at the first document that a unique index refuses; the groups
 * behind that one were not tried.
 * @returns how many of each group were written
 */
const insertGroups = async (
  events: Events,
  groups: readonly (readonly SessionEvent[])[],
): Promise<Outcome<number>[]> => {
  const documents = groups.flat().map((event) => ({ ...event, data: toStorable(event.data) }) as EventDocument)
  let written = documents.length
  try {
    await events.insertMany(documents, { ordered: true })
  } catch (error) {
    const [index] = duplicatesOf(error) ?? []
    if (index === undefined) throw error
    written = index
  }
  let before = 0
  return groups.map((group) => {
    const mine = Math.min(written - before, group.length)
    before += group.length
    return mine < 0 ? { kind: 'again' } : { kind: 'done', value: mine }
  })
}

/** Writes at a time, and appends in one of them. */
const IN_FLIGHT = 2
const MAX_GROUPS = 200

/** The collection `events` as `append` needs it. What comes while a write is in flight goes together in the next one. */
export const createMongoEventTable = (client: MongoClient, events: Events): EventTable => ({
  insert: createBatcher<readonly SessionEvent[], number>({
    write: (groups) => insertGroups(events, groups),
    maxItems: MAX_GROUPS,
    maxInFlight: IN_FLIGHT,
    tryAlone: (error) => !isOutOfReach(error),
  }),
  reader: () => reader(client, events),
})
