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
  runningCold: eventIds.runningCold,
}

const stateOf = { starting: 'starting', startingCold: 'starting', running: 'running', runningCold: 'running' } as const

/** Says in the log how the run gets its container; each once for each attempt. */
export const announce = async (
  ctx: WorkerContext,
  run: Run,
  what: readonly (keyof typeof idOf)[],
  said: Said,
  signal: AbortSignal,
): Promise<void> => {
  const events = what.map((one) => {
    const data = { state: stateOf[one], ...said, attempt: run.attempt }
    return makeEvent(run, idOf[one](run.run_id, run.attempt), 'run_state', data)
  })
  await untilDone(() => ctx.store.events.append(run.session_id, events), signal)
}
