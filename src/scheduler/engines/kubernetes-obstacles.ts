import type { StartFailure } from '#contracts/causes.ts'
import { EngineError } from './engine.ts'
import type { Pod } from './kubernetes-pods.ts'
import { exitOf, stateOf } from './kubernetes-state.ts'

/** What the cluster notes about an object; the message has the reason. */
export type Note = { readonly reason?: string; readonly message?: string; readonly type?: string }

/** How long a pod may take until its container runs, by what holds it up, milliseconds. */
export type Patience = {
  /** Anything: a node is added, a large image is pulled. */
  readonly pending: number
  /** What seldom mends itself: a pull that failed, a volume that cannot be mounted. */
  readonly failing: number
}

export const DEFAULT_PATIENCE: Patience = { pending: 300_000, failing: 30_000 }

type Obstacle = {
  readonly failure: StartFailure
  readonly said: string
  readonly remedy: string
  /** It will not go away by waiting. */
  readonly final: boolean
}

const IMAGE_REMEDY =
  'Give the nodes that image (push it to a registry that they reach, or load it on each), set AGENT_CONTAINER_IMAGE to one they have, or KUBERNETES_PULL_SECRET to a secret for its registry.'

const VOLUME_REMEDY =
  'Workspaces on a claim: KUBERNETES_WORKSPACE_CLAIM must name a bound PersistentVolumeClaim, the same volume that the ' +
  'worker has at WORKSPACES_ROOT. Without one, HOST_WORKSPACES_ROOT must be a directory of the node.'

const ROOM_REMEDY =
  'Add nodes, or ask for less: AGENT_CONTAINER_MEMORY_LIMIT, AGENT_CONTAINER_CPU_QUOTA, KUBERNETES_CPU_REQUEST_PERCENT.'

const IMAGE_REASONS = /^(ErrImagePull|ImagePullBackOff|ErrImageNeverPull|InvalidImageName|ImageInspectError)$/
const IMAGE_FINAL = /^(ErrImageNeverPull|InvalidImageName)$/
const IMAGE_ABSENT = /not found|manifest unknown|does not exist|unauthorized|denied|no such host/i

/** The container itself: what its status says it waits for. */
const waitingObstacle = (pod: Pod): Obstacle | undefined => {
  const { waiting } = stateOf(pod)
  const { reason = '', message = '' } = waiting ?? {}
  if (IMAGE_REASONS.test(reason)) {
    const final = IMAGE_FINAL.test(reason) || IMAGE_ABSENT.test(message)
    return { failure: 'image_missing', said: `${reason}: ${message}`, remedy: IMAGE_REMEDY, final }
  }
  if (!/Error$/.test(reason)) return undefined
  if (/subPath/i.test(message)) {
    return { failure: 'workspace_unavailable', said: `${reason}: ${message}`, remedy: VOLUME_REMEDY, final: false }
  }
  const remedy = 'See what the node says about the pod (`kubectl describe pod`).'
  return { failure: 'start_failed', said: `${reason}: ${message}`, remedy, final: false }
}

/** No node takes it. */
const scheduleObstacle = (pod: Pod): Obstacle | undefined => {
  const scheduled = pod.status?.conditions?.find(({ type }) => type === 'PodScheduled')
  if (scheduled?.status !== 'False') return undefined
  const said = `${scheduled.reason ?? 'not scheduled'}: ${scheduled.message ?? ''}`
  if (/persistentvolumeclaim/i.test(said)) {
    return { failure: 'workspace_unavailable', said, remedy: VOLUME_REMEDY, final: /not found/i.test(said) }
  }
  return { failure: 'start_failed', said, remedy: ROOM_REMEDY, final: false }
}

const VOLUME_NOTES = /^(FailedMount|FailedAttachVolume|FailedMapVolume)$/

/** Its node cannot make it: only the notes say why. A pull that failed is noted before the status says so. */
const notedObstacle = (notes: readonly Note[]): Obstacle | undefined => {
  const warnings = notes.filter(({ type }) => type === 'Warning')
  const note = warnings.findLast(({ message = '' }) => /^Failed to pull image/.test(message)) ?? warnings.at(-1)
  if (note === undefined) return undefined
  const said = `${note.reason ?? ''}: ${note.message ?? ''}`
  if (/image|ErrImagePull/i.test(note.message ?? '')) {
    return { failure: 'image_missing', said, remedy: IMAGE_REMEDY, final: IMAGE_ABSENT.test(said) }
  }
  if (VOLUME_NOTES.test(note.reason ?? '')) {
    const final = /hostPath type check failed/i.test(said)
    return { failure: 'workspace_unavailable', said, remedy: VOLUME_REMEDY, final }
  }
  return { failure: 'start_failed', said, remedy: 'See `kubectl describe pod`.', final: false }
}

/** It was over before its container ran: a node that refused it, or that was lost. */
const endObstacle = (pod: Pod, now: Date): Obstacle | undefined => {
  if (stateOf(pod).terminated !== undefined) return undefined
  const exit = exitOf(pod, now)
  if (exit === undefined) return undefined
  return { failure: 'start_failed', said: exit.detail ?? 'it ended before it ran', remedy: ROOM_REMEDY, final: true }
}

/**
 * Why a pod that does not run yet never will, or not in time; `undefined` while there is hope. Pure.
 * @param waitedMs since the pod was made
 */
export const obstacleOf = (
  pod: Pod,
  notes: readonly Note[],
  waitedMs: number,
  patience: Patience,
  now: Date,
): EngineError | undefined => {
  const found = endObstacle(pod, now) ?? waitingObstacle(pod) ?? scheduleObstacle(pod) ?? notedObstacle(notes)
  // A place on a node may take as long as a new node does.
  const limit = found === undefined || found.remedy === ROOM_REMEDY ? patience.pending : patience.failing
  if (found?.final !== true && waitedMs < limit) return undefined
  const { failure, said, remedy } = found ?? {
    failure: 'start_failed',
    said: 'nothing says why',
    remedy: 'See `kubectl describe pod`; KUBERNETES_PENDING_SECONDS is how long a pod may take to run.',
  }
  return new EngineError(failure, `the pod ${pod.metadata.name} does not run: ${said}`, remedy)
}
