import type { NewEvent, SessionEvent } from '#contracts/events.ts'
import type { AppendOptions, AppendResult } from './event-log.ts'

/** What a writer knows of a session's log, and of one run in it, up to and including `seq`. */
export type LogState = {
  /** The last place, 0 for an empty log. */
  readonly seq: number
  /** Time of the event there, milliseconds since 1970. */
  readonly time: number
  readonly finish?: SessionEvent | undefined
  /** `cancel_requested` or `stopping` of the run is in the log. */
  readonly ending: boolean
}

export const EMPTY_LOG: LogState = { seq: 0, time: 0, ending: false }

export type AppendPlan = {
  /** To be written, in order, from `state.seq + 1` on; none = `result` is final. */
  readonly events: readonly SessionEvent[]
  /** What to answer once all of them are written. */
  readonly result: AppendResult
  /** What is known then. */
  readonly state: LogState
}

/** True for the events after which the run's own `finish` would contradict a cancel or an ending. */
export const isEnding = (event: Pick<NewEvent, 'event_type' | 'data'>): boolean =>
  event.event_type === 'cancel_requested' ||
  (event.event_type === 'run_state' && 'state' in event.data && event.data.state === 'stopping')

/** Exactly the fields of the contract, in one order: what is stored is what every reader gets. */
const place = (event: NewEvent, seq: number, time: number): SessionEvent =>
  ({
    _id: event._id,
    tenant_id: event.tenant_id,
    session_id: event.session_id,
    run_id: event.run_id,
    seq,
    event_type: event.event_type,
    timestamp: new Date(time),
    workspace_id: event.workspace_id,
    ...(event.agent_name === undefined ? {} : { agent_name: event.agent_name }),
    data: event.data,
    v: event.v,
  }) as SessionEvent

/** Rejects what no writer may ask for: `append` speaks for one run of one session. */
export const checkEvents = (sessionId: string, events: readonly NewEvent[]): void => {
  const runId = events[0]?.run_id
  for (const event of events) {
    if (event.session_id === sessionId && event.run_id === runId) continue
    throw new TypeError(
      `append is for one run of one session: ${event._id} is of ${event.session_id}/${event.run_id}, expected ${sessionId}/${runId}`,
    )
  }
}

/** Places what is not stored yet behind `state`. Stops at a `finish`: nothing of the run follows it. */
const write = (state: LogState, stored: ReadonlyMap<string, number>, events: readonly NewEvent[]): AppendPlan => {
  const places = new Map(stored)
  const placed: SessionEvent[] = []
  const seqs: number[] = []
  let { seq, time, ending, finish } = state
  for (const event of events) {
    const known = places.get(event._id)
    if (known !== undefined) {
      seqs.push(known)
      continue
    }
    if (finish !== undefined) break
    seq += 1
    time = Math.max(time, event.timestamp.getTime())
    const next = place(event, seq, time)
    if (isEnding(next)) ending = true
    if (next.event_type === 'finish') finish = next
    places.set(event._id, seq)
    placed.push(next)
    seqs.push(seq)
  }
  const result: AppendResult =
    finish !== undefined && seqs.length < events.length
      ? { outcome: 'finished', finish }
      : { outcome: 'stored', seqs, tail: seq, ending }
  return { events: placed, result, state: { seq, time, ending, finish } }
}

/**
 * Decides what `append` does, the same for every database.
 * @param stored places of those of `events` that are in the log already
 */
export const planAppend = (
  state: LogState,
  stored: ReadonlyMap<string, number>,
  events: readonly NewEvent[],
  options: AppendOptions = {},
): AppendPlan => {
  const answer = (result: AppendResult): AppendPlan => ({ events: [], result, state })
  if (events.every((event) => stored.has(event._id))) return write(state, stored, events)
  if (state.finish !== undefined) return answer({ outcome: 'finished', finish: state.finish })
  if (options.unlessEnding && state.ending) return answer({ outcome: 'ending' })
  if (options.ifTail !== undefined && options.ifTail !== state.seq) return answer({ outcome: 'moved' })
  return write(state, stored, events)
}
