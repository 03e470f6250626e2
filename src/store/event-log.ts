import type { NewEvent, SessionEvent, SessionEventOf } from '#contracts/events.ts'

export type AppendOptions = {
  /** Write only while the log's last `seq` is this; else nothing more is written and the outcome is `moved`. For closers. */
  readonly ifTail?: number
  /** Write nothing more once the run's `cancel_requested` or `stopping` is in the log. For the runner's own `finish`. */
  readonly unlessEnding?: boolean
}

export type AppendResult =
  /** All are in the log: `seqs[i]` is the place of `events[i]`, which for a resend is the first one's. */
  | {
      readonly outcome: 'stored'
      readonly seqs: readonly number[]
      /** The last `seq` this writer knows of. */
      readonly tail: number
      /** True once the writer has met `cancel_requested` or `stopping` of this run. */
      readonly ending: boolean
    }
  /** The run's `finish` is in the log: what was not there before it is not written. */
  | { readonly outcome: 'finished'; readonly finish: SessionEvent }
  /** Only with `unlessEnding`. */
  | { readonly outcome: 'ending' }
  /** Only with `ifTail`. */
  | { readonly outcome: 'moved' }

export type ListOptions = {
  /** Events with `seq` greater than this. */
  readonly after: number
  readonly limit: number
  /** Only this run's. */
  readonly runId?: string
}

/** The events that decide how a run ends; `agentStart` is the first one. */
export type RunMarks = {
  readonly userMessage?: SessionEventOf<'user_message'>
  readonly agentStart?: SessionEventOf<'agent_start'>
  readonly cancelRequested?: SessionEventOf<'cancel_requested'>
  /** The first `run_state` of this run with `state: 'stopping'`. */
  readonly stopping?: SessionEventOf<'run_state'>
  readonly finish?: SessionEventOf<'finish'>
}

/**
 * Port: the log of a session, the only bus between API, worker, runner and clients.
 *
 * `append`: all events are of one run and one session. A compare-and-set on the tail: `seq` is `last + 1` under a unique
 *   index, and on a clash the writer reads what came between. So there are never gaps, and events of one call stay in
 *   order (another writer's may lie between them only after a clash). `timestamp` is moved forward to that of the event
 *   before it where clocks disagree, so order by time is order by `seq`. Repeatable: an event whose `_id` is stored is
 *   skipped. Nothing of a run is ever written behind its `finish`. A process that has no tail of the session in memory
 *   reads the tail first and looks for its run's `finish` after that (the other order lets an event in behind it).
 *   A call that meets another writer midway, and then its condition no more, has stored a prefix: `moved`, `ending` and
 *   `finished` mean that nothing more is written. What is stored already is `stored`, whatever the options. No events: nothing.
 *   Rejects when the store cannot be reached; then nothing, a prefix or everything may be stored, and a resend is safe.
 * `list`: ascending by `seq`, read from the primary; an unknown session is an empty list.
 * `marks`: a few indexed look-ups, whatever the length of the log; read from the primary.
 * `finished`: which of these runs have their `finish` in the log, in one look for all of them; read from the primary.
 * `tail`: the last `seq`, 0 for an unknown session.
 * `grown`: which of these sessions have events behind the place given, in one look for all of them: how idle sessions are
 *   polled. An adapter that cannot do better than `tail` leaves it out.
 * `changes`: wake-ups, until `signal` aborts (then it ends without throwing). Yields the new event itself where the
 *   adapter has it at hand, else `undefined` = "look". Losing one costs latency, never an event: readers poll besides.
 */
export interface EventLog {
  append(sessionId: string, events: readonly NewEvent[], options?: AppendOptions): Promise<AppendResult>
  list(sessionId: string, options: ListOptions): Promise<SessionEvent[]>
  marks(sessionId: string, runId: string): Promise<RunMarks>
  finished(runIds: readonly string[]): Promise<ReadonlySet<string>>
  tail(sessionId: string): Promise<number>
  grown?(places: ReadonlyMap<string, number>): Promise<string[]>
  changes(sessionId: string, signal: AbortSignal): AsyncIterable<SessionEvent | undefined>
}
