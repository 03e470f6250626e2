import type { Collection } from 'mongodb'
import type { NewRun, Run } from '#contracts/run.ts'
import { type InTheWay, keyExpired, newRun, refusal, sessionOf } from './accept-rules.ts'
import { createBackOff } from './back-off.ts'
import { createInserter, type RunDocument, toRun } from './mongodb-run-table.ts'
import type { MongoSessions } from './mongodb-sessions.ts'
import type { AcceptResult } from './run-store.ts'
import { toStorable } from './storable.ts'
import type { TailCache } from './tail-cache.ts'

/** Each attempt after the first means that what was in the way went away meanwhile. */
const MAX_ATTEMPTS = 20
const MAX_PAUSE_MS = 100

const findRun = async (runs: Collection<RunDocument>, filter: object): Promise<Run | undefined> => {
  const found = await runs.findOne(filter)
  return found === null ? undefined : toRun(found)
}

/** The holder of the key; one whose time is over loses it here. */
const holderOfKey = async (runs: Collection<RunDocument>, run: NewRun): Promise<Run | undefined> => {
  const { tenant_id, idempotency_key } = run
  if (idempotency_key === undefined) return undefined
  const holder = await findRun(runs, { tenant_id, idempotency_key })
  if (holder === undefined || !keyExpired(run, holder)) return holder
  await runs.updateOne({ _id: holder.run_id, idempotency_key }, { $unset: { idempotency_key: '' } })
  return undefined
}

const inTheWay = async (runs: Collection<RunDocument>, sessions: MongoSessions, run: NewRun): Promise<InTheWay> => {
  const { tenant_id, session_id, workspace_id } = run
  const [same, byKey, session, sessionHolder, workspaceHolder] = await Promise.all([
    findRun(runs, { _id: run.run_id }),
    holderOfKey(runs, run),
    sessions.get(tenant_id, session_id),
    findRun(runs, { tenant_id, session_id, lock: true }),
    findRun(runs, { tenant_id, workspace_id, lock: true }),
  ])
  return { same, byKey, session, sessionHolder, workspaceHolder }
}

/**
 * `accept` of the run store: one insert, which the unique indexes of `runs` allow or refuse. Only when they refuse it is
 * asked why. The first run of a session says so in its document, and there can be only one; the session's own document
 * follows it.
 */
export const createAccept = (runs: Collection<RunDocument>, sessions: MongoSessions, tails: TailCache) => {
  const insert = createInserter(runs)
  const store = async (
    run: Run,
    newSession: boolean,
    onStored: (run: Run) => void,
  ): Promise<AcceptResult | undefined> => {
    const isStored = tails.expectRun(run.session_id, run.run_id)
    const stored = await insert({ _id: run.run_id, ...run, ...(newSession ? { opens_session: true } : {}) })
    if (!stored) return undefined
    isStored()
    if (newSession) tails.openSession(run.session_id, run.run_id)
    onStored(run)
    if (newSession) await sessions.add(sessionOf(run))
    return { outcome: 'accepted', run, newSession }
  }
  return async (asked: NewRun, onStored: (run: Run) => void = () => {}): Promise<AcceptResult> => {
    const run = newRun({ ...asked, ...(asked.metadata && { metadata: toStorable(asked.metadata) }) })
    const pause = createBackOff({ firstMs: 1, maxMs: MAX_PAUSE_MS })
    let session = sessions.known(run.tenant_id, run.session_id)
    let fits =
      session === undefined || (session.workspace_id === run.workspace_id && session.framework === run.framework)
    for (let n = 0; n < MAX_ATTEMPTS; n++) {
      const result = fits ? await store(run, session === undefined, onStored) : undefined
      if (result !== undefined) return result
      const found = await inTheWay(runs, sessions, asked)
      const refused = refusal(asked, found)
      if (refused !== undefined) return refused
      session = found.session
      fits = true
      await pause.wait()
    }
    throw new Error(`run ${run.run_id} was refused ${MAX_ATTEMPTS} times, and nothing was found in its way`)
  }
}
