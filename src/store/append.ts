import type { NewEvent, SessionEvent } from '#contracts/events.ts'
import { type AppendPlan, checkEvents, type LogState, planAppend } from './append-plan.ts'
import { createBackOff } from './back-off.ts'
import type { AppendOptions, AppendResult } from './event-log.ts'
import { NO_FACTS, type RunFacts, type TailCache, type TailSlot, withFacts } from './tail-cache.ts'

/** Reads in an order of their own: a later one sees all that an earlier one saw. */
export type EventReader = AsyncDisposable & {
  tail(sessionId: string): Promise<{ readonly seq: number; readonly time: number }>
  facts(sessionId: string, runId: string): Promise<RunFacts>
  places(ids: readonly string[]): Promise<ReadonlyMap<string, number>>
}

/** A table of events under unique indexes on `_id` and on `{session_id, seq}`: all that `append` needs of a database. */
export type EventTable = {
  /**
   * Writes them in this order and stops at the first whose `_id` or place is taken.
   * @returns how many were written. Rejects when that is not known.
   */
  insert(events: readonly SessionEvent[]): Promise<number>
  reader(): EventReader
}

/** Writers that clash take turns within milliseconds; this long means that the table contradicts itself. */
const GIVE_UP_MS = 15_000

/** Long enough for another writer's turn, short enough not to be noticed. */
const TURN_MS = 50

const NONE: ReadonlyMap<string, number> = new Map()

/** The state for one run. The tail first and the run's facts after that: the other order lets an event in behind a finish. */
const readState = async (table: EventTable, slot: TailSlot, sessionId: string, runId: string): Promise<LogState> => {
  let facts = slot.known?.runs.get(runId)
  if (slot.known === undefined || facts === undefined) {
    await using reader = table.reader()
    const known = slot.known ?? { ...(await reader.tail(sessionId)), runs: new Map() }
    facts = known.seq === 0 ? NO_FACTS : await reader.facts(sessionId, runId)
    slot.known = withFacts(known, runId, facts)
  }
  return { seq: slot.known.seq, time: slot.known.time, ...facts }
}

const readPlaces = async (table: EventTable, events: readonly NewEvent[]) => {
  await using reader = table.reader()
  // Awaited here: the reader must not be closed before the answer is there.
  return await reader.places(events.map((event) => event._id))
}

/** @returns false on a clash. When it rejects, nothing, a prefix or everything may have been written. */
const carryOut = async (table: EventTable, slot: TailSlot, runId: string, plan: AppendPlan): Promise<boolean> => {
  const { known } = slot
  slot.known = undefined
  const written = await table.insert(plan.events)
  if (written < plan.events.length) return false
  const { seq, time, finish, ending } = plan.state
  if (known !== undefined) slot.known = withFacts(known, runId, { finish, ending }, seq, time)
  return true
}

const appendAlone = async (
  table: EventTable,
  slot: TailSlot,
  events: readonly NewEvent[],
  options: AppendOptions | undefined,
): Promise<AppendResult> => {
  const [{ session_id, run_id }] = events as [NewEvent]
  const deadline = Date.now() + GIVE_UP_MS
  const turns = createBackOff({ firstMs: 1, maxMs: TURN_MS })
  for (let clashes = 0, looked = false; ; ) {
    const state = await readState(table, slot, session_id, run_id)
    const stored = looked ? await readPlaces(table, events) : NONE
    const plan = planAppend(state, stored, events, options)
    if (plan.events.length === 0) {
      if (looked) return plan.result
      // From memory only: it may be old, and does not say whether this is a resend of what is stored.
      slot.known = undefined
      looked = true
      continue
    }
    if (await carryOut(table, slot, run_id, plan)) return plan.result
    looked = true
    clashes += 1
    // The first clash is an old tail; from the second on, others are writing as well.
    if (clashes > 1) await turns.wait()
    if (Date.now() > deadline) throw new Error(`${clashes} clashes in a row at the end of the log of ${session_id}`)
  }
}

/** `append` of the event-log port, over any table that keeps the two indexes. */
export const createAppend =
  (table: EventTable, tails: TailCache) =>
  async (sessionId: string, events: readonly NewEvent[], options?: AppendOptions): Promise<AppendResult> => {
    checkEvents(sessionId, events)
    if (events.length === 0) {
      await using reader = table.reader()
      const { seq } = await reader.tail(sessionId)
      return { outcome: 'stored', seqs: [], tail: seq, ending: false }
    }
    const slot = tails.slot(sessionId)
    return slot.alone(() => appendAlone(table, slot, events, options))
  }
