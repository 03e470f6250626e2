/** How a run can end, for people: four words. */
export type RunStatus = 'success' | 'cancelled' | 'timeout' | 'failed'

/** Why a run ended: a closed list, each with its status. `finish.data.cause` and `result.cause` are always one of these. */
export const CAUSES = {
  completed: 'success',
  cancelled: 'cancelled',
  timeout: 'timeout',
  queue_timeout: 'timeout',
  agent_error: 'failed',
  max_steps: 'failed',
  budget_exceeded: 'failed',
  oom_killed: 'failed',
  container_exited: 'failed',
  container_lost: 'failed',
  engine_unavailable: 'failed',
  image_missing: 'failed',
  start_failed: 'failed',
  workspace_unavailable: 'failed',
  worker_lost: 'failed',
  disk_full: 'failed',
} as const satisfies Record<string, RunStatus>

export type Cause = keyof typeof CAUSES

export const CAUSE_NAMES = Object.keys(CAUSES) as [Cause, ...Cause[]]

export const statusOf = (cause: Cause): RunStatus => CAUSES[cause]

/** Why an engine could not start a run; a subset of the causes. */
export type StartFailure = Extract<
  Cause,
  'engine_unavailable' | 'image_missing' | 'start_failed' | 'workspace_unavailable' | 'disk_full'
>
