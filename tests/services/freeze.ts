import type Docker from 'dockerode'
import { waitFor } from '../helpers.ts'

/**
 * Pauses a container. On cgroup v1 runc gives up after some tries while the container's processes are in the kernel ("unable to
 * freeze", seen on a busy machine), and thaws what it has: it can be asked again.
 */
export const freeze = async (container: Docker.Container): Promise<void> => {
  await waitFor(
    async () => {
      if ((await container.inspect()).State.Paused) return true
      await container.pause()
      return true
    },
    { what: 'the container to be paused', everyMs: 200, timeoutMs: 30_000 },
  )
}
