import { createHash } from 'node:crypto'
import { totalmem } from 'node:os'
import { type ChannelConfig, DEFAULT_TIMINGS, type WorkerConfig } from '#scheduler/worker-context.ts'
import type { AGENTS } from './config-agent-variables.ts'
import { egressPolicy, guardDirect } from './config-egress.ts'
import { modelApi, modelPrices, required } from './config-rules.ts'
import type { GENERAL } from './config-variables.ts'
import { ConfigError, type Values } from './read-env.ts'

/** What can run agents. */
export type EngineKind = 'docker' | 'process' | 'kubernetes'

export type EngineSettings = {
  readonly kind: EngineKind
  readonly installation: string
  readonly image: string
  readonly network: string
  /** NODE_ENV=production: the process engine then refuses. */
  readonly production: boolean
  readonly kubernetes: KubernetesSettings
}

/** What the Kubernetes engine alone has to know. */
export type KubernetesSettings = {
  readonly namespace: string
  readonly kubeconfig?: string
  readonly claim?: string
  /** 0 to 1. */
  readonly cpuShare: number
  readonly pendingMs: number
  readonly runtimeClass?: string
  readonly pullSecret?: string
}

/** Who this process is; `undefined` where the system has no such numbers. */
export type Machine = {
  readonly uid: number | undefined
  readonly gid: number | undefined
  /** Bytes; absent = not known, and not counted. */
  readonly memory?: number
}

export const thisMachine = (): Machine => ({ uid: process.getuid?.(), gid: process.getgid?.(), memory: totalmem() })

type AgentValues = Values<
  (typeof AGENTS)['workspaces'] &
    (typeof AGENTS)['engine'] &
    (typeof AGENTS)['kubernetes'] &
    (typeof AGENTS)['runs'] &
    (typeof AGENTS)['channel'] &
    (typeof AGENTS)['egress'] &
    (typeof GENERAL)['model']
>

/** The image's own user where we may give workspaces away (root), else ours: then the agent can write to what we make. */
const defaultUser = ({ uid, gid }: Machine): string =>
  uid === undefined || uid === 0 ? '1000:1000' : `${uid}:${gid ?? uid}`

/** For the process engine: agents are this very user, whoever that is, and so are the owners of workspaces. */
export const ownUser = ({ uid, gid }: Machine): string => `${uid ?? 0}:${gid ?? uid ?? 0}`

/** Two checkouts on one machine share its Docker daemon: each must leave the other's containers alone. */
const defaultInstallation = (hostRoot: string): string =>
  `mgx-${createHash('sha256').update(hostRoot).digest('hex').slice(0, 8)}`

/** Bytes of a unix socket's path (unix(7)), less what the gateway puts behind the root. */
const ROOT_MAX_BYTES = 107 - '/.mgx/0123456789ab/gw.sock'.length

const guardSocketPaths = (root: string): void => {
  if (Buffer.byteLength(root) <= ROOT_MAX_BYTES) return
  throw new ConfigError([
    `WORKSPACES_ROOT=${root}: is longer than ${ROOT_MAX_BYTES} bytes, too long for the sockets of the gateway; ` +
      'choose a shorter path, or set GATEWAY_TCP_PORT',
  ])
}

const gatewayChannel = (values: AgentValues): ChannelConfig => {
  const port = values.GATEWAY_TCP_PORT
  if (port === undefined) {
    if (values.GATEWAY_TCP_URL !== undefined) {
      throw new ConfigError(['GATEWAY_TCP_URL: has no meaning without GATEWAY_TCP_PORT; set both or neither'])
    }
    guardSocketPaths(values.WORKSPACES_ROOT)
    return { kind: 'gateway' }
  }
  if (values.AGENT_NETWORK === 'none') {
    throw new ConfigError(['AGENT_NETWORK=none: an agent without a network cannot reach GATEWAY_TCP_PORT; unset one'])
  }
  return { kind: 'gateway', tcpUrl: values.GATEWAY_TCP_URL ?? `http://${DOCKER_HOST_NAME}:${port}` }
}

/** The agents' network in the direct channel. */
export const directNetwork = (values: Pick<AgentValues, 'AGENT_NETWORK' | 'AGENT_DIRECT_NETWORK'>): string =>
  values.AGENT_NETWORK ?? values.AGENT_DIRECT_NETWORK

const directChannel = (values: AgentValues & Values<Pick<typeof GENERAL.services, 'MONGODB_DB'>>): ChannelConfig => {
  if (values.AGENT_NETWORK === 'none') {
    throw new ConfigError(['AGENT_NETWORK=none: needs AGENT_CHANNEL=gateway; in the direct one agents need a network'])
  }
  const url = required(
    'AGENT_MONGODB_URL',
    values.AGENT_MONGODB_URL,
    'must be a mongodb:// URL with AGENT_CHANNEL=direct: agents get it, so give it a user that may only find and insert in events',
  )
  guardDirect(values, directNetwork(values))
  const { apiKey } = modelApi(values)
  const base = values.OPENAI_BASE_URL
  return {
    kind: 'direct',
    mongodbUrl: url,
    mongodbDb: values.MONGODB_DB,
    openaiApiKey: apiKey,
    ...(base !== undefined && { openaiBaseUrl: base }),
  }
}

/** Docker's name for the machine itself; on Linux it must be asked for, container by container. */
const DOCKER_HOST_NAME = 'host.docker.internal'

const extraHosts = (channel: ChannelConfig): readonly string[] =>
  channel.kind === 'gateway' && channel.tcpUrl !== undefined && new URL(channel.tcpUrl).hostname === DOCKER_HOST_NAME
    ? [`${DOCKER_HOST_NAME}:host-gateway`]
    : []

/** By a socket nothing needs a network; TCP and MongoDB do. */
const networkOf = (values: AgentValues, channel: ChannelConfig): string => {
  if (values.AGENT_NETWORK !== undefined) return values.AGENT_NETWORK
  if (channel.kind === 'direct') return directNetwork(values)
  return channel.tcpUrl === undefined ? 'none' : 'bridge'
}

/**
 * What the containers' limits may add up to, bytes. Processes have no limits to add up, and a cluster counts by itself: its
 * memory is not that of this machine.
 */
const memoryOf = (values: AgentValues, machine: Machine): number | undefined => {
  const whole = values.WORKER_MEMORY ?? (values.ENGINE === 'kubernetes' ? undefined : machine.memory)
  if (values.ENGINE === 'process' || whole === undefined) return undefined
  const memory = Math.floor(whole * values.WORKER_MEMORY_OVERCOMMIT)
  const need = values.AGENT_CONTAINER_MEMORY_LIMIT
  if (need <= memory) return memory
  throw new ConfigError([
    `AGENT_CONTAINER_MEMORY_LIMIT: one container may have ${need} bytes, and all together ${memory} (WORKER_MEMORY times ` +
      'WORKER_MEMORY_OVERCOMMIT), so that no run would ever fit; lower the one or raise the others',
  ])
}

const canaryOf = ({ AGENT_CANARY_IMAGE: image, AGENT_CANARY_WEIGHT: weight }: AgentValues) => {
  if (weight === 0) return {}
  if (image !== undefined) return { canary: { image, weight } }
  throw new ConfigError([
    `AGENT_CANARY_WEIGHT=${weight}: needs AGENT_CANARY_IMAGE, the image to try; set it, or the weight to 0`,
  ])
}

type ChannelValues = AgentValues & Partial<Values<Pick<typeof GENERAL.services, 'MONGODB_DB'>>>

export const workerSettings = (values: ChannelValues, machine: Machine): WorkerConfig => {
  const channel =
    values.AGENT_CHANNEL === 'direct'
      ? directChannel({ ...values, MONGODB_DB: values.MONGODB_DB ?? 'mgx' })
      : gatewayChannel(values)
  const hostWorkspacesRoot = values.HOST_WORKSPACES_ROOT ?? values.WORKSPACES_ROOT
  const memoryBytes = memoryOf(values, machine)
  const { MAX_RUNNING_RUNS: maxRunning, MAX_RUNNING_RUNS_PER_TENANT: maxRunningPerTenant } = values
  return {
    ...(maxRunning !== undefined && { maxRunning }),
    ...(maxRunningPerTenant !== undefined && { maxRunningPerTenant }),
    ...(memoryBytes !== undefined && { memoryBytes }),
    installation: values.MGX_INSTALLATION ?? defaultInstallation(hostWorkspacesRoot),
    concurrency: values.WORKER_CONCURRENCY,
    image: values.AGENT_CONTAINER_IMAGE,
    ...canaryOf(values),
    user: values.AGENT_USER ?? defaultUser(machine),
    network: networkOf(values, channel),
    egress: egressPolicy(values),
    extraHosts: extraHosts(channel),
    limits: {
      memoryBytes: values.AGENT_CONTAINER_MEMORY_LIMIT,
      cpuQuota: values.AGENT_CONTAINER_CPU_QUOTA,
      pids: values.AGENT_CONTAINER_PIDS_LIMIT,
      tmpBytes: values.AGENT_TMP_SIZE,
    },
    disk: {
      reserveBytes: values.AGENT_DISK_RESERVE,
      ...(values.AGENT_WORKSPACE_QUOTA !== undefined && { quotaBytes: values.AGENT_WORKSPACE_QUOTA }),
      ...(values.AGENT_WORKSPACE_QUOTA_KIND === 'hard' && { hard: true }),
    },
    workspacesRoot: values.WORKSPACES_ROOT,
    hostWorkspacesRoot,
    taskTimeoutSeconds: values.AGENT_TASK_TIMEOUT_SECONDS,
    maxSteps: values.AGENT_MAX_STEPS,
    model: values.OPENAI_MODEL,
    ...modelPrices(values),
    channel,
    timings: DEFAULT_TIMINGS,
    reconcileDryRun: values.RECONCILE_DRY_RUN,
    warmPoolSize: values.WARM_POOL_SIZE,
  }
}

type EngineValues = { readonly NODE_ENV: string | undefined } & Values<(typeof AGENTS)['kubernetes']>

const kubernetesSettings = (values: EngineValues): KubernetesSettings => ({
  namespace: values.KUBERNETES_NAMESPACE,
  cpuShare: values.KUBERNETES_CPU_REQUEST_PERCENT / 100,
  pendingMs: values.KUBERNETES_PENDING_SECONDS * 1000,
  ...(values.KUBECONFIG !== undefined && { kubeconfig: values.KUBECONFIG }),
  ...(values.KUBERNETES_WORKSPACE_CLAIM !== undefined && { claim: values.KUBERNETES_WORKSPACE_CLAIM }),
  ...(values.KUBERNETES_RUNTIME_CLASS !== undefined && { runtimeClass: values.KUBERNETES_RUNTIME_CLASS }),
  ...(values.KUBERNETES_PULL_SECRET !== undefined && { pullSecret: values.KUBERNETES_PULL_SECRET }),
})

export const engineSettings = (values: EngineValues, worker: WorkerConfig): Omit<EngineSettings, 'kind'> => ({
  installation: worker.installation,
  image: worker.image,
  network: worker.network,
  production: values.NODE_ENV === 'production',
  kubernetes: kubernetesSettings(values),
})

/** A pod cannot have a socket of the worker's machine, and no name for that machine. */
export const guardKubernetes = (kind: EngineKind | undefined, { channel, extraHosts }: WorkerConfig): void => {
  if (kind !== 'kubernetes' || channel.kind === 'direct') return
  if (channel.tcpUrl !== undefined && extraHosts.length === 0) return
  throw new ConfigError([
    'ENGINE=kubernetes: pods reach the gateway over TCP; set GATEWAY_TCP_PORT, and GATEWAY_TCP_URL to the address of ' +
      'this worker as pods see it (http://<its pod IP>:<port>)',
  ])
}

/** A file system of one's own is mounted by root, and seen by containers of this machine only. */
export const guardHardQuota = (kind: EngineKind | undefined, { disk }: WorkerConfig, { uid }: Machine): void => {
  if (!disk.hard) return
  const refuse = (why: string) => new ConfigError([`AGENT_WORKSPACE_QUOTA_KIND=hard: ${why}`])
  if (disk.quotaBytes === undefined) throw refuse('needs AGENT_WORKSPACE_QUOTA, such as 5g')
  if (kind === 'kubernetes' || kind === 'process') throw refuse(`needs ENGINE=docker, not ${kind}; take soft there`)
  if (uid !== 0) throw refuse('needs a worker that is root, which mounts file systems; run it as root, or take soft')
}
