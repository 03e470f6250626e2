import type { StartFailure } from '#contracts/causes.ts'
import { EngineError, type SandboxSpec } from './engine.ts'

/** What dockerode throws: an HTTP answer of the daemon has `statusCode`, a socket that failed has `code`. */
type DaemonFailure = Error & {
  readonly statusCode?: number
  readonly code?: string
  readonly json?: { readonly message?: unknown } | null
}

const asFailure = (error: unknown): DaemonFailure => (error instanceof Error ? error : new Error(String(error)))

/** The daemon's own words, without dockerode's wrapping. */
export const daemonMessage = (error: unknown): string => {
  const { json, message } = asFailure(error)
  return typeof json?.message === 'string' ? json.message : message.trim()
}

export const hasStatus = (error: unknown, ...statuses: number[]): boolean =>
  statuses.includes(asFailure(error).statusCode ?? 0)

/** No answer at all: socket missing or refused, connection broken, time over. */
const isUnreachable = (error: unknown): boolean => {
  const { statusCode, code, name } = asFailure(error)
  if (statusCode !== undefined) return false
  return typeof code === 'string' || name === 'TimeoutError' || name === 'AbortError'
}

const START_DOCKER = 'Start Docker (`systemctl start docker`), and check DOCKER_HOST; what waits goes on by itself.'
const JOIN_GROUP = 'Let this user use the Docker socket: add it to the group `docker`, in a container with `group_add`.'

const unreachable = (error: unknown): EngineError => {
  const { code, name } = asFailure(error)
  const denied = code === 'EACCES' || code === 'EPERM'
  const why = name === 'TimeoutError' ? 'it did not answer in time' : daemonMessage(error)
  return new EngineError(
    'engine_unavailable',
    `the Docker daemon cannot be reached: ${why}`,
    denied ? JOIN_GROUP : START_DOCKER,
    { cause: error },
  )
}

/** For every call but create and start. */
export const callError = (error: unknown): EngineError => {
  if (error instanceof EngineError) return error
  if (isUnreachable(error)) return unreachable(error)
  return new EngineError(
    'engine_unavailable',
    `the Docker daemon refused: ${daemonMessage(error)}`,
    "See the daemon's log (`journalctl -u docker`).",
    { cause: error },
  )
}

/** What is said about a start that fails. */
type Told = Pick<SandboxSpec, 'name' | 'image' | 'network' | 'workspace' | 'gatewayDir'>

type StartRule = {
  readonly matches: (message: string, spec: Told) => boolean
  readonly failure: StartFailure
  readonly remedy: (spec: Told) => string
}

const namesOurMount = (message: string, spec: Told): boolean =>
  /mount/i.test(message) &&
  [spec.workspace.hostPath, spec.gatewayDir?.hostPath].some((path) => path !== undefined && message.includes(path))

/** What the daemon says when a start fails, most telling first (Engine 20.10 to 28, Docker Desktop). */
const START_RULES: readonly StartRule[] = [
  {
    matches: (message) => /no such image|invalid reference format/i.test(message),
    failure: 'image_missing',
    remedy: ({ image }) =>
      `Build it with \`make build-agent\`, or set AGENT_CONTAINER_IMAGE to an image that this daemon has (not ${image}).`,
  },
  {
    matches: (message, spec) =>
      /bind source path does not exist|mounts denied|is not shared from/i.test(message) || namesOurMount(message, spec),
    failure: 'workspace_unavailable',
    remedy: ({ workspace }) =>
      `The daemon's machine must have ${workspace.hostPath} as a directory. Set HOST_WORKSPACES_ROOT to the path of ` +
      'WORKSPACES_ROOT on that machine; with Docker Desktop, share it there.',
  },
  {
    matches: (message) => /network \S+ not found/i.test(message),
    failure: 'start_failed',
    remedy: ({ network }) => `Create it (\`docker network create ${network}\`), or set AGENT_NETWORK to one there is.`,
  },
  {
    matches: (message) => /no such container/i.test(message),
    failure: 'start_failed',
    remedy: () => 'Somebody removed it before it was started: another worker that ended this run, or a person.',
  },
  {
    matches: (message) => /no space left on device/i.test(message),
    failure: 'disk_full',
    remedy: () => "Free disk space where Docker keeps its data (`docker system df`), on the daemon's machine.",
  },
]

/** For create and start: the daemon's refusal as a cause with a remedy. */
export const startError = (error: unknown, spec: Told): EngineError => {
  if (error instanceof EngineError) return error
  if (isUnreachable(error)) return unreachable(error)
  const message = daemonMessage(error)
  const rule = START_RULES.find((candidate) => candidate.matches(message, spec))
  return new EngineError(
    rule?.failure ?? 'start_failed',
    `the Docker daemon could not start ${spec.name}: ${message}`,
    rule?.remedy(spec) ?? `Try \`docker run --rm ${spec.image}\` on the daemon's machine, and see its log.`,
    { cause: error },
  )
}

/**
 * The network in which a daemon that was killed has kept the place of an earlier container of this name, long gone; for as long as it
 * does, it starts none of that name (seen with Docker 20.10). `undefined` for any other error.
 */
export const leftEndpoint = (error: unknown, name: string): string | undefined => {
  const [, of, network] =
    /endpoint with name (\S+) already exists in network ([^\s.]+)/.exec(daemonMessage(error)) ?? []
  return of === name ? network : undefined
}

/** The container's name belongs to somebody else: another installation, or nobody of ours. */
export const nameTaken = (spec: SandboxSpec, containerId: string, installation: string | undefined): EngineError => {
  const owner = installation === undefined ? 'which mgx did not make' : `of the installation "${installation}"`
  return new EngineError(
    'start_failed',
    `the name ${spec.name} is in use by the container ${containerId.slice(0, 12)}, ${owner}`,
    `Remove or rename that container (\`docker rename\`), or use another session id: installations that share a ` +
      'Docker daemon must not share session ids.',
  )
}
