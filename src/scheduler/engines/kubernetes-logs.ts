import type { SandboxRef } from './engine.ts'
import { ApiRefusal } from './kubernetes-api.ts'
import { callError } from './kubernetes-errors.ts'
import { CONTAINER } from './kubernetes-manifest.ts'
import { type Cluster, type Pod, podsOf } from './kubernetes-pods.ts'
import { hasStarted } from './kubernetes-state.ts'
import { watchPod } from './kubernetes-watch.ts'

const PENDING_ROUND_SECONDS = 5

/** Nothing to read: the pod is gone (404), or its container is (400, in words). */
const hasNothing = (error: unknown): boolean =>
  error instanceof ApiRefusal && (error.status === 404 || error.status === 400)

const untilStarted = async (cluster: Cluster, pod: Pod, signal: AbortSignal): Promise<boolean> => {
  if (hasStarted(pod)) return true
  for await (const { pod: now, gone } of watchPod(cluster, pod.metadata, signal, () => PENDING_ROUND_SECONDS)) {
    if (gone) return false
    if (now && hasStarted(now)) return true
  }
  return false
}

/**
 * `SandboxEngine.logs`. Without time stamps: Kubernetes before 1.24 put them into the middle of long lines. What the node has
 * rotated away (`containerLogMaxSize`, 10 MiB) is read by those who follow, and by nobody who begins later.
 */
export async function* podLogs(cluster: Cluster, ref: SandboxRef, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  if (signal.aborted) return
  try {
    const [pod] = await podsOf(cluster, ref, signal)
    if (!pod || !(await untilStarted(cluster, pod, signal))) return
    const query = { container: CONTAINER, follow: true }
    const request = { resource: 'pods/log', verb: 'get', name: pod.metadata.name, query } as const
    const stream = await cluster.api.stream(request, signal)
    try {
      for await (const chunk of stream as AsyncIterable<Uint8Array>) {
        if (signal.aborted) return
        yield chunk
      }
    } finally {
      stream.destroy()
    }
  } catch (error) {
    if (!signal.aborted && !hasNothing(error)) throw callError(error)
  }
}
