import type { SandboxExit } from '#contracts/run.ts'
import { exitFrom } from './exit-reason.ts'
import { CONTAINER } from './kubernetes-manifest.ts'
import { annotation, type ContainerState, type Pod } from './kubernetes-pods.ts'

/** Put on a pod that the engine itself ends by its deadline: the cluster cannot tell that from the last net. */
export const STOPPED = 'dev.mgx.stopped'

/** A pod that should be over for so long has a node that does not answer: the cluster waits for it without end. */
const STUCK_MS = 30_000

export const stateOf = (pod: Pod): ContainerState =>
  pod.status?.containerStatuses?.find(({ name }) => name === CONTAINER)?.state ?? {}

const hasEnded = ({ status }: Pod): boolean => status?.phase === 'Succeeded' || status?.phase === 'Failed'

/** The container runs, or did. */
export const hasStarted = (pod: Pod): boolean => {
  const { running, terminated } = stateOf(pod)
  return running !== undefined || terminated !== undefined || hasEnded(pod)
}

export const isOver = (pod: Pod): boolean => stateOf(pod).terminated !== undefined || hasEnded(pod)

export const isRunning = (pod: Pod): boolean => stateOf(pod).running !== undefined && !isOver(pod)

/** The deletion of this pod waits for a node that does not answer. */
export const isStuck = (pod: Pod, now: Date): boolean => {
  const { deletionTimestamp } = pod.metadata
  if (deletionTimestamp === undefined || isOver(pod)) return false
  return now.getTime() - Date.parse(deletionTimestamp) > STUCK_MS
}

/** True when no container of this pod can be running: it is over, or never had a node to run on. */
export const isDead = (pod: Pod): boolean => stateOf(pod).terminated !== undefined || pod.spec.nodeName === undefined

const inWords = (...parts: readonly (string | undefined)[]): string =>
  parts.filter((part) => part !== undefined && part !== '').join(': ')

/** The cluster took the pod away: eviction, preemption, a node drained, shut down or lost. */
const disruptionOf = ({ status }: Pod): string | undefined => {
  const condition = status?.conditions?.find(({ type, status: is }) => type === 'DisruptionTarget' && is === 'True')
  if (condition !== undefined) return inWords(condition.reason, status?.message ?? condition.message)
  return status?.reason === 'Evicted' ? inWords(status.reason, status.message) : undefined
}

/** Somebody deleted it while it ran: its node was told when to begin, and the container ended after that. */
const wasDeleted = ({ metadata }: Pod, finishedAt: string | undefined): boolean => {
  const { deletionTimestamp, deletionGracePeriodSeconds: grace = 0 } = metadata
  if (deletionTimestamp === undefined || finishedAt === undefined || grace === 0) return false
  return Date.parse(finishedAt) >= Date.parse(deletionTimestamp) - grace * 1000
}

/** The deadline that the cluster keeps as the last net has ended it. */
const isLate = (pod: Pod): boolean => pod.status?.reason === 'DeadlineExceeded' && annotation(pod, STOPPED) === ''

/** The kubelet's word for a container that it knows no more, with an exit code made up by it. */
const UNKNOWN = 'ContainerStatusUnknown'

/**
 * How a pod ended, or `undefined` while it may go on. Only the word of the node it ran on (`terminated`) says that
 * it is dead: what the cluster declares over for a node that it lost may run on there.
 */
export const exitOf = (pod: Pod, now: Date): SandboxExit | undefined => {
  const { terminated } = stateOf(pod)
  const disruption = disruptionOf(pod)
  if (terminated !== undefined) {
    const gone =
      disruption ??
      (terminated.reason === UNKNOWN ? inWords(UNKNOWN, terminated.message) : undefined) ??
      (wasDeleted(pod, terminated.finishedAt) ? 'the pod was deleted while it ran' : undefined)
    if (gone !== undefined) return { code: null, reason: 'lost', detail: gone }
    const exit = exitFrom(terminated.exitCode, terminated.reason === 'OOMKilled')
    return isLate(pod) ? { ...exit, detail: inWords(pod.status?.reason, pod.status?.message) } : exit
  }
  if (isStuck(pod, now)) {
    return { code: null, reason: 'lost', unproven: true, detail: `its node ${pod.spec.nodeName ?? ''} does not answer` }
  }
  if (!hasEnded(pod)) return undefined
  const detail = disruption ?? inWords(pod.status?.reason, pod.status?.message)
  const collected = pod.status?.conditions?.some(({ reason }) => reason === 'DeletionByPodGC') === true
  return { code: null, reason: 'lost', ...(detail !== '' && { detail }), ...(collected && { unproven: true }) }
}
