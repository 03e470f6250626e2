import type { Evidence } from './evidence.ts'
import type { RunLine } from './report.ts'
import type { Sessions } from './sessions.ts'
import type { Violation } from './verdict.ts'

/** One line of the report for each run that was accepted. */
export const runLines = (evidence: Evidence, sessions: Sessions, violations: readonly Violation[]): RunLine[] =>
  sessions.accepted.map(({ label, session_id, run_id, channel, plan: { manner }, clients }) => {
    const found = evidence.sessions.find((session) => session.session_id === session_id)
    const run = found?.runs.find((one) => one.run.run_id === run_id)?.run
    const finished = run?.finished_at && run.finished_at.getTime() - run.created_at.getTime()
    return {
      ...{ label, session_id, run_id, channel, manner },
      ...(run?.result && { cause: run.result.cause }),
      attempts: run?.attempt ?? 0,
      events: found?.log.filter((event) => event.run_id === run_id).length ?? 0,
      ...(finished !== undefined && { seconds: finished / 1000 }),
      connections: clients.reduce((total, { follower }) => total + follower.connections, 0),
      violations: violations.filter((one) => one.run_id === run_id).map(({ rule }) => rule),
    }
  })
