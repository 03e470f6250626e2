import { eventIds, makeEvent } from '#contracts/events.ts'
import type { Run } from '#contracts/run.ts'
import { announceRun } from './announce.ts'
import { endQueuedRun } from './ending.ts'
import type { Store } from './store.ts'

/**
 * Asks for the end of a run: `cancel_requested` in the log is the request, and once it is stored before a `finish` the run
 * ends as `cancelled`. A run that no worker has taken up is ended here and now.
 * @returns `over` when the run ended before without being cancelled; repeated calls give the same answer
 */
export const cancelRun = async (
  store: Pick<Store, 'runs' | 'events'>,
  run: Run,
  owner: string,
): Promise<'stopping' | 'over'> => {
  const { userMessage } = await store.events.marks(run.session_id, run.run_id)
  if (userMessage === undefined) await announceRun(store.events, run)
  const request = makeEvent(run, eventIds.cancelRequested(run.run_id), 'cancel_requested', { source: 'client' })
  const result = await store.events.append(run.session_id, [request])
  if (result.outcome === 'finished') return 'over'
  if (run.state === 'queued') await endQueuedRun(store, run, 'cancelled', owner)
  return 'stopping'
}
