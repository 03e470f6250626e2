import { type EventData, eventIds, makeEvent } from '#contracts/events.ts'
import type { Run } from '#contracts/run.ts'
import { untilDone } from './patience.ts'
import type { WorkerContext } from './worker-context.ts'

type Said = Pick<EventData['run_state'], 'reason' | 'miss'>

const idOf = {
  starting: eventIds.starting,
  running: eventIds.running,
  /** After a start that came to nothing, in the same attempt. */
  startingCold: eventIds.startingCold,
}

/** Says in the log how the run gets its container; once for each attempt. */
export const announce = async (
  ctx: WorkerContext,
  run: Run,
  what: keyof typeof idOf,
  said: Said,
  signal: AbortSignal,
): Promise<void> => {
  const state = what === 'running' ? 'running' : 'starting'
  const id = idOf[what](run.run_id, run.attempt)
  const event = makeEvent(run, id, 'run_state', { state, ...said, attempt: run.attempt })
  await untilDone(() => ctx.store.events.append(run.session_id, [event]), signal)
}
