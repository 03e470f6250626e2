import type * as z from 'zod'
import type { QueuePlace, RunView, SessionView } from '#contracts/http.ts'
import type { Run, Session } from '#contracts/run.ts'

const iso = <K extends string>(key: K, date: Date | undefined) =>
  date === undefined ? {} : ({ [key]: date.toISOString() } as Record<K, string>)

const egressView = ({ allow, enforced }: NonNullable<Run['egress']>) => ({
  allow: typeof allow === 'string' ? allow : [...allow],
  enforced,
})

/** What clients see of a run: no prompt (it is in the log), nothing of owner, engine or token. */
export const runView = (run: Run, queue?: QueuePlace): z.input<typeof RunView> => ({
  run_id: run.run_id,
  session_id: run.session_id,
  workspace_id: run.workspace_id,
  framework: run.framework,
  state: run.state,
  attempt: run.attempt,
  created_at: run.created_at.toISOString(),
  ...iso('started_at', run.started_at),
  ...iso('deadline_at', run.deadline_at),
  ...iso('finished_at', run.finished_at),
  ...(run.metadata === undefined ? {} : { metadata: { ...run.metadata } }),
  options: { ...run.options },
  ...(queue && { queue }),
  ...(run.egress === undefined ? {} : { egress: egressView(run.egress) }),
  ...(run.result === undefined ? {} : { result: run.result }),
})

export const sessionView = (
  session: Session,
  active: Run | undefined,
  queue?: QueuePlace,
): z.input<typeof SessionView> => ({
  session_id: session.session_id,
  workspace_id: session.workspace_id,
  framework: session.framework,
  created_at: session.created_at.toISOString(),
  ...(active === undefined ? {} : { active_run_id: active.run_id }),
  ...(queue && { queue }),
})
