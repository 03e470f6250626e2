import type { EventType, SessionEvent } from '#contracts/events.ts'
import type { RunMarks } from './event-log.ts'

/** The types among which a run's marks are found. */
export const MARK_TYPES = [
  'user_message',
  'agent_start',
  'cancel_requested',
  'run_state',
  'finish',
] as const satisfies readonly EventType[]

/** Folds a run's events of {@link MARK_TYPES}, in order of `seq`; the first of each kind counts. */
export const marksOf = (events: readonly SessionEvent[]): RunMarks => {
  const marks: { -readonly [K in keyof RunMarks]: RunMarks[K] } = {}
  for (const event of events) {
    if (event.event_type === 'user_message') marks.userMessage ??= event
    if (event.event_type === 'agent_start') marks.agentStart ??= event
    if (event.event_type === 'cancel_requested') marks.cancelRequested ??= event
    if (event.event_type === 'run_state' && event.data.state === 'stopping') marks.stopping ??= event
    if (event.event_type === 'finish') marks.finish ??= event
  }
  return marks
}
