import type Docker from 'dockerode'
import { waitFor } from '../helpers.ts'

/** 404: there is no such container; 409: it does not run. Asking again would not change that. */
const isOver = (error: unknown): boolean => [404, 409].includes((error as { statusCode?: number }).statusCode ?? 0)

/**
 * Pauses a container. On cgroup v1 runc gives up after some tries while the container's processes are in the kernel ("unable to
 * freeze", seen on a busy machine), and thaws what it has: it can be asked again. Rejects at once, as Docker does, for one that is
 * over.
 */
export const freeze = async (container: Docker.Container): Promise<void> => {
  const outcome = await waitFor(
    async () => {
      try {
        if ((await container.inspect()).State.Paused) return { paused: true }
        await container.pause()
        return { paused: true }
      } catch (error) {
        if (isOver(error)) return { error }
        throw error
      }
    },
    { what: 'the container to be paused', everyMs: 200, timeoutMs: 30_000 },
  )
  if ('error' in outcome) throw outcome.error
}
