import type { NewRun } from '#contracts/run.ts'
import { announceRun } from './announce.ts'
import type { AcceptResult } from './run-store.ts'
import type { Store } from './store.ts'

/** How many finished holders one `accept` clears away; each further one means that another client was quicker. */
const MAX_HOLDERS = 5

/**
 * Accepts a run: stored with its locks, then announced in the log. A holder whose `finish` is in the log holds nothing any
 * more, so `finish` frees the session at once while the owner still tidies up. A replay announces again what a crash
 * between the two writes left out. Rejects when the store cannot be reached: the caller may try again with the same run.
 */
export const acceptRun = async (store: Pick<Store, 'runs' | 'events'>, run: NewRun): Promise<AcceptResult> => {
  let result = await store.runs.accept(run)
  for (let n = 0; n < MAX_HOLDERS; n++) {
    if (result.outcome !== 'session_busy' && result.outcome !== 'workspace_busy') break
    const { holder } = result
    const { finish } = await store.events.marks(holder.session_id, holder.run_id)
    if (finish === undefined) return result
    await store.runs.releaseLock(holder.run_id)
    result = await store.runs.accept(run)
  }
  if (result.outcome === 'accepted' || result.outcome === 'replayed') await announceRun(store.events, result.run)
  return result
}
