import type { EventType, SessionEvent } from '#contracts/events.ts'
import { pause } from './pause.ts'
import { type EventSink, SinkRefused } from './sinks/event-sink.ts'

const RETRY_PAUSE_MS = 500

export type History = {
  /** What the session's earlier runs left, in order, without the pieces of messages. */
  readonly earlier: readonly SessionEvent[]
  /** What the log has of this run. */
  readonly own: readonly SessionEvent[]
  /** False: `signal` aborted before all was read. */
  readonly complete: boolean
}

const PIECES: ReadonlySet<EventType> = new Set(['message_delta', 'tool_output_delta'])

/** What API and worker say of a run while its runner begins. */
const OTHERS_SAY: ReadonlySet<EventType> = new Set(['user_message', 'run_state', 'cancel_requested'])

/** Reads the session's log. Tries again until `signal` aborts; rejects when the sink refuses. */
export const readHistory = async (sink: EventSink, runId: string, signal: AbortSignal): Promise<History> => {
  const earlier: SessionEvent[] = []
  const own: SessionEvent[] = []
  for (let after = 0; !signal.aborted; ) {
    const page = await sink.history(after, signal).catch((error: unknown) => {
      if (error instanceof SinkRefused) throw error
      return undefined
    })
    if (page === undefined) {
      await pause(RETRY_PAUSE_MS, signal)
      continue
    }
    for (const event of page) {
      after = event.seq
      if (event.run_id === runId) own.push(event)
      else if (!PIECES.has(event.event_type)) earlier.push(event)
    }
    if (page.length === 0) return { earlier, own, complete: true }
  }
  return { earlier, own, complete: false }
}

/**
 * True when another runner has this run, or had it. Our own `agent_start` was a no-op then, because its id was there; all
 * that we would say after it would be as well, and we would work unseen (design section 6, rule 8).
 * @param containerId what our own `agent_start` says
 */
export const isTaken = ({ own }: Pick<History, 'own'>, containerId: string | undefined): boolean => {
  const words = own.filter((event) => !OTHERS_SAY.has(event.event_type))
  const [first, ...more] = words
  return more.length > 0 || (first?.event_type === 'agent_start' && first.data.container_id !== containerId)
}
