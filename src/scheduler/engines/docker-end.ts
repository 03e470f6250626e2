import type Docker from 'dockerode'
import { pause } from '../patience.ts'
import { askUnless, CALL_MS, CHANGE_MS, containersOf, type Daemon, type Found } from './docker-daemon.ts'
import { callError } from './docker-errors.ts'
import type { SandboxRef } from './engine.ts'

const POLL_MS = 100

/** `SandboxEngine.stop`. Docker counts the grace in whole seconds: rounded up. */
export const stopContainer = async (daemon: Daemon, ref: SandboxRef, graceMs: number): Promise<void> => {
  for (const found of await containersOf(daemon, ref)) {
    if (!found.running) continue
    const container = daemon.docker.getContainer(found.containerId)
    const t = Math.ceil(graceMs / 1000)
    // 304: it had stopped already; 404: it is gone.
    await askUnless([304, 404], t * 1000 + CHANGE_MS, (abortSignal) => container.stop({ t, abortSignal }))
  }
}

/** Somebody else is removing it (409): ours is done when theirs is. */
const untilGone = async (docker: Docker, id: string): Promise<void> => {
  const patience = AbortSignal.timeout(CHANGE_MS)
  try {
    while (await askUnless([404], CALL_MS, (abortSignal) => docker.getContainer(id).inspect({ abortSignal }))) {
      await pause(POLL_MS, patience)
    }
  } catch (error) {
    throw callError(error)
  }
}

/** Running or not. Resolves when it is gone. */
export const removeFound = async ({ docker }: Daemon, { containerId }: Pick<Found, 'containerId'>): Promise<void> => {
  const container = docker.getContainer(containerId)
  await askUnless([404, 409], CHANGE_MS, (abortSignal) => container.remove({ force: true, v: true, abortSignal }))
  await untilGone(docker, containerId)
}

/** `SandboxEngine.remove`. */
export const removeContainer = async (daemon: Daemon, ref: SandboxRef, containerId?: string): Promise<void> => {
  for (const found of await containersOf(daemon, ref)) {
    if (containerId === undefined || found.containerId === containerId) await removeFound(daemon, found)
  }
}
