import type { NewRun, Run } from '#contracts/run.ts'
import { announceRun } from './announce.ts'
import type { AppendResult } from './event-log.ts'
import type { AcceptResult } from './run-store.ts'
import type { Store } from './store.ts'

/** How many finished holders one `accept` clears away; each further one means that another client was quicker. */
const MAX_HOLDERS = 5

/** Tells the workers that there is work. `isNew`: the run was never enqueued. */
export type Hint = (run: Run, isNew: boolean) => Promise<void>

/** `begins`: where the log of its session has the run's first event, if that was written just now. */
export type Accepted = AcceptResult & { readonly begins?: number | undefined }

/** Announced in the log and hinted to the workers, both at once: whoever is quicker and misses the first event writes it. */
const createTold = ({ events }: Pick<Store, 'events'>, hint: Hint) => {
  let announced: Promise<AppendResult> | undefined
  let hinted: Promise<void> | undefined
  const tell = (run: Run, isNew: boolean): void => {
    announced ??= announceRun(events, run)
    hinted ??= hint(run, isNew)
    // Awaited by `done`, which may come later than a failure.
    Promise.all([announced, hinted]).catch(() => {})
  }
  return {
    tell,
    async done(run: Run, isNew: boolean): Promise<number | undefined> {
      tell(run, isNew)
      const [result] = await Promise.all([announced, hinted])
      return result?.outcome === 'stored' ? result.seqs[0] : undefined
    },
  }
}

/**
 * Accepts a run: stored with its locks, then announced in the log, and hinted to the workers. A holder whose `finish` is in the
 * log holds nothing any more, so `finish` frees the session at once while the owner still tidies up. A replay announces and
 * hints again what a crash between the writes left out. Rejects when the store cannot be reached: the caller may try again
 * with the same run.
 */
export const acceptRun = async (
  store: Pick<Store, 'runs' | 'events'>,
  run: NewRun,
  hint: Hint = async () => {},
): Promise<Accepted> => {
  const told = createTold(store, hint)
  const accept = () => store.runs.accept(run, (stored) => told.tell(stored, true))
  let result = await accept()
  for (let n = 0; n < MAX_HOLDERS; n++) {
    if (result.outcome !== 'session_busy' && result.outcome !== 'workspace_busy') break
    const { holder } = result
    const { finish } = await store.events.marks(holder.session_id, holder.run_id)
    if (finish === undefined) return result
    await store.runs.releaseLock(holder.run_id)
    result = await accept()
  }
  if (result.outcome !== 'accepted' && result.outcome !== 'replayed') return result
  return { ...result, begins: await told.done(result.run, result.outcome === 'accepted') }
}
