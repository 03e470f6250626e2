import type { SandboxFacts, SandboxRef } from './engine.ts'
import { PRINT_KERNEL_FILES, printedTexts } from './kernel-files-printed.ts'
import { callError } from './kubernetes-errors.ts'
import { CONTAINER } from './kubernetes-manifest.ts'
import { type Cluster, getPod, podsOf } from './kubernetes-pods.ts'
import { isRunning } from './kubernetes-state.ts'

/**
 * `SandboxEngine.attest`. The files are read by a command in the container, as the agent's own user: a pod offers no other.
 * An agent that wants to can make it lie (ptrace), so it shows that the cluster keeps its limits, not that an agent is honest.
 */
export const attestPod = async (cluster: Cluster, ref: SandboxRef): Promise<SandboxFacts | undefined> => {
  const [pod] = await podsOf(cluster, ref)
  if (!pod || !isRunning(pod)) return undefined
  const { name, uid } = pod.metadata
  try {
    const texts = printedTexts(await cluster.api.exec(name, CONTAINER, PRINT_KERNEL_FILES))
    if (texts.status === undefined) throw new Error('the container does not show the files of the kernel')
    const status = pod.status?.containerStatuses?.find((one) => one.name === CONTAINER)
    return {
      kind: 'container',
      containerId: uid,
      imageId: status?.imageID ?? '',
      networks: ['cluster'],
      sharedNamespaces: [],
      source: 'exec',
      texts,
    }
  } catch (error) {
    const now = await getPod(cluster, name)
    if (now === undefined || now.metadata.uid !== uid || !isRunning(now)) return undefined
    throw callError(error)
  }
}
