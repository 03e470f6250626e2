import { EngineError, type SandboxRef } from './engine.ts'
import { askUnless, type Cluster, deletePod, type Pod, podsOf } from './kubernetes-pods.ts'
import { hasStarted, isDead, isOver, isStuck, STOPPED } from './kubernetes-state.ts'
import { watchPod } from './kubernetes-watch.ts'

/** A pod that is being ended is looked at this often, as its node may be lost. */
const ENDING_ROUND_SECONDS = 5

/** How much longer than its grace an end may take on a node that answers. */
const END_MS = 15_000

/** How long a removal may take; a node that is lost is given up before that. */
const REMOVE_MS = 120_000

/** Looks at the pod until `test` says so; false when `ms` have passed before. */
const untilSeen = async (
  cluster: Cluster,
  { metadata }: Pod,
  ms: number,
  test: (pod: Pod | undefined) => boolean,
): Promise<boolean> => {
  const limit = AbortSignal.timeout(ms)
  try {
    for await (const { pod, gone } of watchPod(cluster, metadata, limit, () => ENDING_ROUND_SECONDS)) {
      if (test(gone ? undefined : pod)) return true
    }
    return true
  } catch (error) {
    if (limit.aborted) return false
    throw error
  }
}

/**
 * Ends the container and keeps its pod, with exit code and output: a pod whose time is over is stopped by its node
 * as a deletion would, and stays. False when the pod is another one by now.
 */
export const endByDeadline = async (cluster: Cluster, { metadata }: Pod): Promise<boolean> => {
  // With the uid, which nothing can change: for a pod that took this one's name meanwhile it is invalid (422).
  const body = {
    metadata: { uid: metadata.uid, annotations: { [STOPPED]: new Date().toISOString() } },
    spec: { activeDeadlineSeconds: 1 },
  }
  const request = { resource: 'pods', verb: 'patch', name: metadata.name, body } as const
  return (await askUnless([404, 409, 422], cluster, request)) !== undefined
}

const graceOf = ({ spec }: Pod): number => (spec.terminationGracePeriodSeconds ?? 0) * 1000

const stopPod = async (cluster: Cluster, pod: Pod, graceMs: number): Promise<void> => {
  const ended = (now: Pod | undefined) => now === undefined || isOver(now) || isStuck(now, new Date())
  if (ended(pod)) return
  if (hasStarted(pod)) {
    if (!(await endByDeadline(cluster, pod))) return
    if (await untilSeen(cluster, pod, Math.max(graceMs, graceOf(pod)) + END_MS, ended)) return
  }
  // It never ran, so that there is nothing to keep; or its node does nothing, and the deletion shows for how long.
  await deletePod(cluster, pod, 1)
  if (await untilSeen(cluster, pod, REMOVE_MS, ended)) return
  throw notEnding(pod)
}

const notEnding = ({ metadata, spec }: Pod): EngineError =>
  new EngineError(
    'engine_unavailable',
    `the pod ${metadata.name} does not end on its node ${spec.nodeName ?? '(none)'}`,
    'See that node (`kubectl describe node`); what waits goes on by itself.',
  )

/** `SandboxEngine.stop`. The grace of a pod is fixed when it is made; a longer one is waited for, a shorter one is not. */
export const stopPods = async (cluster: Cluster, ref: SandboxRef, graceMs: number): Promise<void> => {
  for (const pod of await podsOf(cluster, ref)) await stopPod(cluster, pod, graceMs)
}

/**
 * Removes that pod, and resolves when it is gone: its node has said that nothing of it runs any more. For a node that does
 * not answer the cluster waits without end, so its pods are struck off, as `wait` has said (`unproven`).
 */
export const removePod = async (cluster: Cluster, pod: Pod): Promise<void> => {
  await deletePod(cluster, pod, isDead(pod) ? 0 : 1)
  let last: Pod | undefined = pod
  const over = (now: Pod | undefined) => {
    last = now
    return now === undefined || isStuck(now, new Date())
  }
  const seen = await untilSeen(cluster, pod, REMOVE_MS, over)
  if (seen && last === undefined) return
  if (!seen) throw notEnding(pod)
  await deletePod(cluster, pod, 0)
}

/** `SandboxEngine.remove`. */
export const removePods = async (cluster: Cluster, ref: SandboxRef, containerId?: string): Promise<void> => {
  for (const pod of await podsOf(cluster, ref)) {
    if (containerId === undefined || pod.metadata.uid === containerId) await removePod(cluster, pod)
  }
}
