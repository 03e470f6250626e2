import { MgxError } from '#contracts/errors.ts'
import { DEFAULT_TENANT } from '#contracts/ids.ts'
import type { Run, Session } from '#contracts/run.ts'
import type { Store } from '#store/store.ts'

/** Whose request this is: one tenant for now. */
export const TENANT = DEFAULT_TENANT

/** Throws SESSION_NOT_FOUND. */
export const findSession = async (store: Store, sessionId: string): Promise<Session> => {
  const session = await store.runs.getSession(TENANT, sessionId)
  if (session !== undefined) return session
  throw new MgxError('SESSION_NOT_FOUND', `There is no session "${sessionId}".`, `session_id: ${sessionId}`, {
    session_id: sessionId,
  })
}

const noRun = (sessionId: string, cause: string): MgxError =>
  new MgxError('RUN_NOT_FOUND', `The session "${sessionId}" has no such run.`, cause, { session_id: sessionId })

/** A run of this session and no other. Throws SESSION_NOT_FOUND or RUN_NOT_FOUND. */
export const findRun = async (store: Store, sessionId: string, runId: string): Promise<Run> => {
  const [, run] = await Promise.all([findSession(store, sessionId), store.runs.get(runId)])
  if (run !== undefined && run.session_id === sessionId && run.tenant_id === TENANT) return run
  throw noRun(sessionId, `run_id: ${runId.slice(0, 100)}`)
}

/** The run that holds the session, or else the latest one. */
export const currentRun = async (store: Store, sessionId: string): Promise<Run | undefined> =>
  (await store.runs.activeRun(TENANT, sessionId)) ?? (await store.runs.latestRun(TENANT, sessionId))

/** Throws SESSION_NOT_FOUND, or RUN_NOT_FOUND where the session never had a run. */
export const findCurrentRun = async (store: Store, sessionId: string): Promise<Run> => {
  const [, run] = await Promise.all([findSession(store, sessionId), currentRun(store, sessionId)])
  if (run !== undefined) return run
  throw noRun(sessionId, 'it has no run at all')
}

/**
 * The runs that these sessions are being worked on by, under their sessions' ids. A run whose `finish` is in the log is over,
 * though its owner may still tidy up. Two looks, however many sessions.
 */
export const activeRuns = async (store: Store, sessionIds: readonly string[]): Promise<ReadonlyMap<string, Run>> => {
  const runs = await store.runs.activeRuns(TENANT, sessionIds)
  const finished = await store.events.finished(runs.map((run) => run.run_id))
  return new Map(runs.filter((run) => !finished.has(run.run_id)).map((run) => [run.session_id, run]))
}
