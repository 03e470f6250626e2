import type { NewRun, Priority, Run, Session } from '#contracts/run.ts'
import type { AcceptResult } from './run-store.ts'

/** How long an idempotency key stands for its run, from the run's `created_at`, in milliseconds. */
export const KEY_KEPT_MS = 24 * 60 * 60 * 1000

/**
 * How far a priority moves a run ahead, milliseconds. A head start rather than a rank, so that nothing can starve: no run ever waits behind
 * one of its tenant that came more than ten minutes after it, from the highest priority to the lowest.
 */
const HEAD_START_MS: Readonly<Record<Priority, number>> = { low: -300_000, normal: 0, high: 300_000 }

const turnOf = ({ created_at, options }: NewRun): Date =>
  new Date(created_at.getTime() - HEAD_START_MS[options.priority ?? 'normal'])

/** What lies in the way of a run, as far as it was found. */
export type InTheWay = {
  /** The very run: it is stored already, and only the answer was lost. */
  readonly same?: Run | undefined
  readonly byKey?: Run | undefined
  readonly session?: Session | undefined
  readonly sessionHolder?: Run | undefined
  readonly workspaceHolder?: Run | undefined
}

/** The document of a run that has just been accepted. No container was asked for yet, so none is there. */
export const newRun = (run: NewRun): Run => ({
  ...run,
  // Absent and undefined are the same to us, but not to a reader that compares.
  options: Object.fromEntries(Object.entries(run.options).filter(([, value]) => value !== undefined)),
  v: 1,
  turn_at: turnOf(run),
  state: 'queued',
  attempt: 0,
  lock: true,
  container_gone: true,
  restarts: 0,
})

/** The session that a first run opens. */
export const sessionOf = (
  run: Pick<Run, 'session_id' | 'tenant_id' | 'workspace_id' | 'framework' | 'created_at'>,
): Session => ({
  session_id: run.session_id,
  tenant_id: run.tenant_id,
  workspace_id: run.workspace_id,
  framework: run.framework,
  created_at: run.created_at,
  v: 1,
})

/** True once `run` may use the idempotency key that `holder` was accepted with. */
export const keyExpired = (run: NewRun, holder: Run): boolean =>
  run.created_at.getTime() - holder.created_at.getTime() >= KEY_KEPT_MS

const holdsKey = (holder: Run | undefined, run: NewRun): boolean =>
  holder !== undefined &&
  run.idempotency_key !== undefined &&
  holder.idempotency_key === run.idempotency_key &&
  holder.tenant_id === run.tenant_id &&
  !keyExpired(run, holder)

/**
 * Why a run is not accepted, or `undefined`: nothing is in its way. The idempotency key comes before the locks: a client
 * that tries again must meet its own run, not be told that its session is busy with it.
 */
export const refusal = (run: NewRun, found: InTheWay): AcceptResult | undefined => {
  const { same, session, sessionHolder, workspaceHolder } = found
  // What is in the way may have been read at different moments: a holder can be the run of the key, too.
  const byKey = found.byKey ?? [sessionHolder, workspaceHolder].find((holder) => holdsKey(holder, run))
  if (same !== undefined) return { outcome: 'accepted', run: same, newSession: false }
  if (byKey !== undefined) {
    const outcome = byKey.idempotency_hash === run.idempotency_hash ? 'replayed' : 'key_reused'
    return { outcome, run: byKey }
  }
  if (session !== undefined && (session.workspace_id !== run.workspace_id || session.framework !== run.framework)) {
    return { outcome: 'session_mismatch', session }
  }
  if (sessionHolder !== undefined) return { outcome: 'session_busy', holder: sessionHolder }
  if (workspaceHolder !== undefined) return { outcome: 'workspace_busy', holder: workspaceHolder }
  return undefined
}
