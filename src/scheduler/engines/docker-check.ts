import { randomUUID } from 'node:crypto'
import { mkdir, readdir, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type Docker from 'dockerode'
import type { Logger } from 'pino'
import { LABELS } from '#contracts/labels.ts'
import { ask, askUnless, CALL_MS, CHANGE_MS, type Daemon, within } from './docker-daemon.ts'
import { callError, daemonMessage, hasStatus } from './docker-errors.ts'
import { EngineError } from './engine.ts'

/** Docker Engine 20.10: the oldest that was tried. */
const OLDEST_API = [1, 41] as const

const isOlder = (version: string): boolean => {
  const [major = 0, minor = 0] = version.split('.').map(Number)
  return major < OLDEST_API[0] || (major === OLDEST_API[0] && minor < OLDEST_API[1])
}

const checkVersion = async (docker: Docker): Promise<void> => {
  const { ApiVersion, Version, Os } = await ask(CALL_MS, () => docker.version())
  if (isOlder(ApiVersion)) {
    const message = `Docker Engine ${Version} speaks API ${ApiVersion}, older than ${OLDEST_API.join('.')}`
    throw new EngineError('engine_unavailable', message, 'Install Docker Engine 20.10 or newer.')
  }
  if (Os !== 'linux') {
    const remedy = 'Switch Docker to Linux containers.'
    throw new EngineError('engine_unavailable', `this Docker daemon runs ${Os} containers`, remedy)
  }
}

/** What `docker info` says is missing here is silently not applied to a container, so it is said aloud. */
const PROTECTIONS = [
  ['MemoryLimit', 'memory limits'],
  ['SwapLimit', 'swap limits (a container may use swap beyond its memory limit)'],
  ['CpuCfsQuota', 'CPU quotas'],
  ['PidsLimit', 'process limits'],
] as const

const warnOfMissing = (info: Record<string, unknown>, log: Pick<Logger, 'warn'>): void => {
  const missing: string[] = PROTECTIONS.filter(([field]) => info[field] === false).map(([, words]) => words)
  const security = Array.isArray(info.SecurityOptions) ? info.SecurityOptions.map(String) : []
  if (!security.some((option) => option.startsWith('name=seccomp'))) missing.push('seccomp')
  if (missing.length > 0) log.warn({ missing }, 'this Docker daemon does not enforce every limit of agent containers')
}

const checkImage = async (docker: Docker, image: string): Promise<void> => {
  const found = await askUnless([404], CALL_MS, () => docker.getImage(image).inspect())
  if (!found) {
    const remedy = 'Build it with `make build-agent`, or set AGENT_CONTAINER_IMAGE to an image that this daemon has.'
    throw new EngineError('image_missing', `the Docker daemon has no image ${image}`, remedy)
  }
}

const inspectNetwork = async (docker: Docker, network: string): Promise<Docker.NetworkInspectInfo> => {
  const found = await askUnless([404], CALL_MS, () => docker.getNetwork(network).inspect())
  if (!found) {
    const remedy = `Create it (\`docker network create ${network}\`), or set AGENT_NETWORK to one there is.`
    throw new EngineError('start_failed', `the Docker daemon has no network ${network}`, remedy)
  }
  return found
}

/** `SandboxEngine.leadsNowhere`: made with `--internal`, which stays so for as long as the network lives. */
export const isInternal = async ({ docker }: Pick<Daemon, 'docker'>, network: string): Promise<boolean> =>
  !network.startsWith('container:') && (await inspectNetwork(docker, network)).Internal === true

export type DockerNeeds = { readonly image?: string; readonly network?: string }

/** `SandboxEngine.check`: the daemon answers, is new enough, and has what starts will need. */
export const checkDaemon = async (
  { docker }: Daemon,
  { image, network }: DockerNeeds,
  log: Pick<Logger, 'warn'>,
): Promise<void> => {
  await checkVersion(docker)
  warnOfMissing(await ask(CALL_MS, () => docker.info()), log)
  if (image !== undefined) await checkImage(docker, image)
  if (network !== undefined && !network.startsWith('container:')) await inspectNetwork(docker, network)
}

export type WorkspaceMapping = {
  readonly docker: Docker
  readonly installation: string
  readonly image: string
  /** The workspaces as this process sees them, and as the daemon's machine does. */
  readonly root: string
  readonly hostRoot: string
}

/** A probe lasts a create and a remove at most: an older one was left by a process that died over it. */
const PROBE_OLD_MS = 4 * CHANGE_MS

const PROBE = 'probe-'

const removeProbe = (container: Docker.Container): Promise<unknown> =>
  askUnless([404, 409], CHANGE_MS, (abortSignal) => container.remove({ force: true, v: true, abortSignal }))

/** What earlier ones have left. A container of another's probe may go at once: it has done its service by being created. */
const sweepProbes = async ({ docker, installation, root }: WorkspaceMapping): Promise<void> => {
  const label = [`${LABELS.installation}=${installation}`, `${LABELS.role}=probe`]
  const left = await within(CALL_MS, (abortSignal) =>
    docker.listContainers({ all: true, filters: { label }, abortSignal }),
  )
  await Promise.all(left.map(({ Id }) => removeProbe(docker.getContainer(Id))))
  const directory = join(root, '.mgx')
  for (const name of (await readdir(directory)).filter((one) => one.startsWith(PROBE))) {
    const made = await stat(join(directory, name)).catch(() => undefined)
    if (made && Date.now() - made.mtimeMs > PROBE_OLD_MS) await rm(join(directory, name), { force: true })
  }
}

const writeProbe = async (root: string): Promise<string> => {
  const directory = join(root, '.mgx')
  const name = `${PROBE}${randomUUID()}`
  try {
    await mkdir(directory, { recursive: true, mode: 0o755 })
    await writeFile(join(directory, name), 'Made to find out whether Docker sees this directory; may be deleted.\n')
  } catch (error) {
    const remedy = `Create ${root} and let this user write to it, or set WORKSPACES_ROOT to another directory.`
    throw new EngineError('workspace_unavailable', `cannot write to the workspaces in ${root}: ${error}`, remedy, {
      cause: error,
    })
  }
  return name
}

/** A container that is created and never started: creating is what makes the daemon look for the source of a mount. */
const probeOptions = (mapping: WorkspaceMapping, name: string): Docker.ContainerCreateOptions => ({
  Image: mapping.image,
  Cmd: ['probe'],
  Labels: { [LABELS.managed]: 'true', [LABELS.installation]: mapping.installation, [LABELS.role]: 'probe' },
  HostConfig: {
    NetworkMode: 'none',
    Mounts: [{ Type: 'bind', Source: join(mapping.hostRoot, '.mgx', name), Target: '/probe', ReadOnly: true }],
  },
})

const mappingError = (error: unknown, { root, hostRoot, image }: WorkspaceMapping): EngineError => {
  const text = daemonMessage(error)
  if (/no such image/i.test(text)) {
    return new EngineError('image_missing', `the Docker daemon has no image ${image}`, 'Run `make build-agent`.')
  }
  if (!hasStatus(error, 400, 500)) return callError(error)
  return new EngineError(
    'workspace_unavailable',
    `the Docker daemon does not see WORKSPACES_ROOT (${root}) at HOST_WORKSPACES_ROOT (${hostRoot}): ${text}`,
    'Set HOST_WORKSPACES_ROOT to the path that WORKSPACES_ROOT has on the machine where the Docker daemon runs; with ' +
      'Docker Desktop, share that path there.',
    { cause: error },
  )
}

/**
 * Rejects (`EngineError`) unless HOST_WORKSPACES_ROOT really is WORKSPACES_ROOT as the daemon sees it: a file that is
 * written on our side must be there on the daemon's. Leaves nothing behind, and sweeps up after those that died over theirs.
 */
export const checkWorkspaceMapping = async (mapping: WorkspaceMapping): Promise<void> => {
  const name = await writeProbe(mapping.root)
  try {
    const container = await within(CHANGE_MS, (abortSignal) =>
      mapping.docker.createContainer({ ...probeOptions(mapping, name), abortSignal }),
    )
    await removeProbe(container)
    await sweepProbes(mapping)
  } catch (error) {
    throw mappingError(error, mapping)
  } finally {
    await rm(join(mapping.root, '.mgx', name), { force: true })
  }
}
