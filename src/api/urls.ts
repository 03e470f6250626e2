import type { Run } from '#contracts/run.ts'

/** Ids need no escaping in a path: their rule allows nothing that would. */
export const runUrl = ({ session_id, run_id }: Pick<Run, 'session_id' | 'run_id'>): string =>
  `/api/agent/sessions/${session_id}/runs/${run_id}`

export const eventsUrl = ({ session_id, run_id }: Pick<Run, 'session_id' | 'run_id'>): string =>
  `/api/agent/sessions/${session_id}/events?run_id=${run_id}`
