import { availableParallelism } from 'node:os'
import type Docker from 'dockerode'
import type { Logger } from 'pino'
import type { Claims } from '../claims.ts'
import { createSemaphore } from '../semaphore.ts'
import { attestContainer } from './docker-attest.ts'
import { checkDaemon, type DockerNeeds, isInternal } from './docker-check.ts'
import { ask, CALL_MS, connectDocker, containersOf, type Daemon, type Found, listAll } from './docker-daemon.ts'
import { removeContainer, stopContainer } from './docker-end.ts'
import { containerLogs } from './docker-logs.ts'
import { dockerWarm } from './docker-slots.ts'
import { startContainer } from './docker-start.ts'
import { waitForExit } from './docker-wait.ts'
import type { SandboxEngine, SandboxInfo } from './engine.ts'

export type DockerEngineOptions = DockerNeeds & {
  /** A client, or how to reach the daemon; `{}` goes by DOCKER_HOST as the `docker` command does. */
  readonly docker: Docker | Docker.DockerOptions
  /** Whose containers these are: two installations may share a daemon. */
  readonly installation: string
  /** Starts at once; default: the core count, beyond which starts only get slower. */
  readonly startConcurrency?: number
  /** Which runs its slots were claimed for; none without. */
  readonly claims?: Claims
  readonly log: Pick<Logger, 'warn'>
}

const toInfo = ({ state: _state, ...info }: Found): SandboxInfo => info

/**
 * Agent containers on a Docker daemon, each named `mgx-agent-<session_id>`. Containers are found by label, and every call is
 * made on the immutable id, so a worker that slept cannot touch the next run's container of the same name.
 * `image` and `network` are what `check` looks for.
 */
export const createDockerEngine = (options: DockerEngineOptions): SandboxEngine => {
  const daemon: Daemon = {
    docker: connectDocker(options.docker),
    installation: options.installation,
    ...(options.claims && { claims: options.claims }),
  }
  const places = createSemaphore(options.startConcurrency ?? availableParallelism())
  return {
    name: 'docker',
    sharesPaths: false,
    warm: dockerWarm(daemon, places),
    async engineId() {
      const info = (await ask(CALL_MS, () => daemon.docker.info())) as { ID?: string; Name?: string }
      // The name too: machines cloned from one disk have the same id.
      return `docker:${info.ID ?? ''}:${info.Name ?? ''}`
    },
    check: () => checkDaemon(daemon, options, options.log),
    leadsNowhere: (network) => isInternal(daemon, network),
    start: (spec, jobLine, signal) => startContainer(daemon, places, { spec, jobLine, signal }),
    async find(ref) {
      const [found] = await containersOf(daemon, ref)
      return found && toInfo(found)
    },
    logs: (ref, signal) => containerLogs(daemon, ref, signal),
    wait: (ref, signal) => waitForExit(daemon, ref, signal),
    stop: (ref, graceMs) => stopContainer(daemon, ref, graceMs),
    remove: (ref, containerId) => removeContainer(daemon, ref, containerId),
    attest: (ref) => attestContainer(daemon, ref),
    list: async () => (await listAll(daemon)).map(toInfo),
  }
}
