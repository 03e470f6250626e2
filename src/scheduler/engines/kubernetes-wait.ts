import type { SandboxExit } from '#contracts/run.ts'
import type { SandboxRef } from './engine.ts'
import { type Cluster, podsOf } from './kubernetes-pods.ts'
import { exitOf, hasStarted } from './kubernetes-state.ts'
import { watchPod } from './kubernetes-watch.ts'

const ROUND_SECONDS = 50
/** While the clock decides: how long it does not start, or should be over. */
const SHORT_ROUND_SECONDS = 5

/** A pod that vanished, or that nobody has seen: nothing says that what it ran is dead. */
const VANISHED: SandboxExit = { code: null, reason: 'lost', unproven: true }

/** `SandboxEngine.wait`. @param pendingMs how long a pod may take until it runs */
export const waitForPod = async (
  cluster: Cluster,
  ref: SandboxRef,
  signal: AbortSignal,
  pendingMs: number,
): Promise<SandboxExit> => {
  signal.throwIfAborted()
  const [found] = await podsOf(cluster, ref, signal)
  if (!found) return VANISHED
  const since = Date.now()
  const decides = (pod: typeof found) => !hasStarted(pod) || pod.metadata.deletionTimestamp !== undefined
  const rounds = (pod: typeof found) => (decides(pod) ? SHORT_ROUND_SECONDS : ROUND_SECONDS)
  for await (const { pod, gone } of watchPod(cluster, found.metadata, signal, rounds)) {
    const exit = pod && exitOf(pod, new Date())
    if (exit) return exit
    if (gone) return pod && !hasStarted(pod) ? { code: null, reason: 'lost' } : VANISHED
    if (pod && !hasStarted(pod) && Date.now() - since > pendingMs) return { code: null, reason: 'lost' }
  }
  return VANISHED
}
