import { eventIds, makeEvent } from '#contracts/events.ts'
import type { Run } from '#contracts/run.ts'
import type { AppendResult, EventLog } from './event-log.ts'

/** `user_message` and `run_state {queued}`, the first events of every run. Repeatable: whoever finds them missing writes them. */
export const announceRun = (events: EventLog, run: Run): Promise<AppendResult> =>
  events.append(run.session_id, [
    makeEvent(run, eventIds.userMessage(run.run_id), 'user_message', {
      message_id: eventIds.userMessage(run.run_id),
      content: run.prompt,
      source: 'client',
    }),
    makeEvent(run, eventIds.queued(run.run_id), 'run_state', { state: 'queued' }),
  ])
