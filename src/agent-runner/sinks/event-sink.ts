import type { NewEvent, SessionEvent } from '#contracts/events.ts'

/** What became of a batch; `ending`: somebody has asked for the end of the run (then, with `unlessEnding`, nothing is written). */
export type SinkResult =
  | { readonly outcome: 'stored'; readonly ending: boolean }
  | { readonly outcome: 'ending' }
  | { readonly outcome: 'finished' }

/** Thrown when a batch will never be taken: the runner and what stores its events do not fit together. */
export class SinkRefused extends Error {
  constructor(message: string) {
    super(message)
    this.name = 'SinkRefused'
  }
}

/**
 * Port: where the runner's events go, and where the session's earlier ones come from.
 *
 * `append`: one try. In order, repeatable (ids decide). Rejects when it cannot be stored now: then nothing, a part or
 *   everything may be stored, and a resend is safe. Rejects with `SinkRefused` when it never will be.
 * `history`: one page of the session's log behind `after`, ascending; empty = that was all.
 */
export interface EventSink {
  append(events: readonly NewEvent[], options: { unlessEnding: boolean }, signal: AbortSignal): Promise<SinkResult>
  history(after: number, signal: AbortSignal): Promise<SessionEvent[]>
}
