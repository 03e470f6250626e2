import { randomUUID } from 'node:crypto'
import { chmod } from 'node:fs/promises'
import { join } from 'node:path'
import type Docker from 'dockerode'
import type { Db } from 'mongodb'
import { LABELS } from '#contracts/labels.ts'
import { createProcessEngine } from '#scheduler/engines/process.ts'
import { freePort, tempDir } from '../helpers.ts'
import { type Address, openBalancer } from '../services/balancer.ts'
import { bridgeAddress } from '../services/bridge.ts'
import type { Skip } from '../services/daemon.ts'
import { openDocker } from '../services/docker.ts'
import { testImage } from '../services/image.ts'
import { openPromptModel, type PromptModel } from './prompt-model.ts'
import { openData, type StackData } from './stack-data.ts'
import { type Env, type StackNode, startApi, startWorker } from './stack-node.ts'

export type StackOptions = {
  /** How agents reach the outside: the gateway over a unix socket (default), over TCP, or MongoDB and the model directly. */
  readonly channel?: 'socket' | 'tcp' | 'direct'
  /** `process` is for one worker: two would share one directory of what is running. */
  readonly engine?: 'docker' | 'process'
  readonly apis?: number
  readonly workers?: number
  /** Over TCP: agents come to one address before all workers. */
  readonly balanced?: boolean
  /** A MongoDB and a Redis that this stack may kill, pause, restart and flush. */
  readonly own?: boolean
  /** An empty directory for the workspaces; default: one of its own. */
  readonly root?: string
  /** More of the environment, for API and worker. */
  readonly env?: Env
}

/**
 * mgx as it is run for others: processes of src/main on a real MongoDB and Redis, with agents in containers of the test
 * image. Everything in it is its own (database, queue, workspaces, installation) and gone after its disposal.
 */
export type Stack = AsyncDisposable &
  Omit<StackData, 'client'> & {
    readonly apis: readonly StackNode[]
    readonly workers: readonly StackNode[]
    /** Addresses of the APIs, without a slash at the end; the same after a restart. */
    readonly urls: readonly [string, ...string[]]
    readonly db: Db
    readonly model: PromptModel
    /** The key that API and worker have for the model, and that no agent may see through the gateway. */
    readonly modelKey: string
    readonly docker: Docker
    readonly installation: string
    /** Where the workspaces are. */
    readonly root: string
    /** A session id that only this stack has: container names are the machine's. */
    sessionId(name: string): string
    /** What its processes find in their environment: for one more that is not ready at once. An API needs a PORT beside. */
    readonly env: { readonly api: Env; readonly worker: Env }
    /** One more worker, with what differs for it. */
    addWorker(env?: Env): Promise<StackNode>
    /** The agent containers there are, running or not. */
    containers(): Promise<Docker.ContainerInfo[]>
    /** What every process has logged, for the message of a failed test. */
    logs(): string
  }

type Parts = {
  readonly options: StackOptions
  readonly id: string
  readonly root: string
  readonly data: StackData
  readonly model: PromptModel
  readonly modelKey: string
  readonly bridge: string
  readonly image: string
  /** Where the gateway of one more worker listens, behind the address that agents know. */
  readonly place?: () => Promise<Env>
}

const openPlaces = async (stack: AsyncDisposableStack, host: string): Promise<() => Promise<Env>> => {
  const servers: Address[] = []
  const port = await freePort(host)
  stack.use(await openBalancer({ host, port }, servers))
  return async () => {
    const server = { host, port: await freePort(host) }
    servers.push(server)
    const listen = { GATEWAY_TCP_HOST: host, GATEWAY_TCP_PORT: String(server.port) }
    return { ...listen, GATEWAY_TCP_URL: `http://${host}:${port}` }
  }
}

const listContainers = (docker: Docker, installation: string): Promise<Docker.ContainerInfo[]> =>
  docker.listContainers({ all: true, filters: { label: [`${LABELS.installation}=${installation}`] } })

const removeAgents = async (docker: Docker, installation: string): Promise<void> => {
  for (const { Id } of await listContainers(docker, installation)) {
    await docker
      .getContainer(Id)
      .remove({ force: true, v: true })
      .catch(() => {})
  }
}

const endProcesses = async (root: string): Promise<void> => {
  const stateDir = join(root, '.mgx', 'processes')
  const engine = createProcessEngine({ stateDir, command: [process.execPath], production: false, log: { warn() {} } })
  for (const box of await engine.list().catch(() => [])) await engine.remove(box)
}

const channelEnv = async ({ options, data, bridge, place }: Parts): Promise<Env> => {
  if (options.channel === 'direct') return { AGENT_CHANNEL: 'direct', AGENT_MONGODB_URL: data.agentsUrl ?? '' }
  if (options.channel !== 'tcp') return {}
  if (place) return place()
  return { GATEWAY_TCP_HOST: bridge, GATEWAY_TCP_PORT: String(await freePort(bridge)) }
}

const workerEnv = async (parts: Parts): Promise<Env> => ({
  ...(parts.options.engine === 'process' ? { ENGINE: 'process' } : { AGENT_CONTAINER_IMAGE: parts.image }),
  WORKSPACES_ROOT: parts.root,
  MGX_INSTALLATION: parts.id,
  WARM_POOL_SIZE: '0',
  OPENAI_API_KEY: parts.modelKey,
  OPENAI_BASE_URL: parts.model.baseUrl,
  OPENAI_MODEL: 'prompt-model',
  ...(await channelEnv(parts)),
})

const startNodes = async (stack: AsyncDisposableStack, parts: Parts) => {
  const { options, id, data } = parts
  const common = { MONGODB_URL: data.servicesUrl, MONGODB_DB: id, REDIS_URL: data.redis.url, ...options.env }
  const ports = await Promise.all(Array.from({ length: options.apis ?? 1 }, () => freePort()))
  const workers: StackNode[] = []
  const env = { api: { ...common, API_DOCS: '0' }, worker: { ...(await workerEnv(parts)), ...common } }
  const addWorker = async (more: Env = {}) => {
    const worker = stack.use(
      await startWorker({ ...env.worker, ...(await channelEnv(parts)), ...options.env, ...more }),
    )
    workers.push(worker)
    return worker
  }
  const starts = ports.map(async (port) => stack.use(await startApi({ ...env.api, PORT: String(port) })))
  const added = Array.from({ length: options.workers ?? 1 }, () => addWorker())
  await Promise.allSettled([...starts, ...added])
  await Promise.all(added)
  const apis = await Promise.all(starts)
  return {
    apis,
    workers,
    env,
    addWorker,
    urls: ports.map((port) => `http://127.0.0.1:${port}`) as [string, ...string[]],
  }
}

const open = async (stack: AsyncDisposableStack, options: StackOptions): Promise<Stack | Skip> => {
  const id = `e2e-${randomUUID().slice(0, 8)}`
  const opened = await openDocker()
  if ('skip' in opened && options.engine !== 'process') return opened
  // The process engine never asks it; a client without a daemon is harmless.
  const docker = 'docker' in opened ? opened.docker : new (await import('dockerode')).default()
  const outside = options.channel === 'tcp' || options.channel === 'direct'
  const bridge = outside ? await bridgeAddress(docker) : ''
  const direct = options.channel === 'direct' ? { bridge } : undefined
  const data = await openData(stack, { db: id, own: options.own ?? false, direct })
  if ('skip' in data) return data
  const model = stack.use(await openPromptModel(direct?.bridge))
  const root =
    options.root ??
    (await tempDir({ after: (remove) => stack.defer(async () => void (await (remove as () => unknown)())) }))
  // Containers reach their workspace by its path on this machine, whoever they run as.
  await chmod(root, 0o755)
  stack.defer(() => (options.engine === 'process' ? endProcesses(root) : removeAgents(docker, id)))
  const image = options.engine === 'process' ? '' : await testImage()
  const modelKey = `sk-e2e-${randomUUID()}`
  const place = options.balanced ? await openPlaces(stack, bridge) : undefined
  const parts: Parts = { options, id, root, data, model, modelKey, bridge, image, ...(place && { place }) }
  const nodes = await startNodes(stack, parts)
  return {
    ...data,
    ...nodes,
    db: data.client.db(id),
    model,
    modelKey,
    docker,
    installation: id,
    root,
    sessionId: (name) => `${name}-${id}`,
    containers: () => listContainers(docker, id),
    logs: () => [...nodes.apis, ...nodes.workers].map((node) => node.log()).join('\n'),
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  }
}

/** `{ skip }` where this machine lacks what it needs. */
export const openStack = async (options: StackOptions = {}): Promise<Stack | Skip> => {
  const stack = new AsyncDisposableStack()
  try {
    const opened = await open(stack, options)
    if ('skip' in opened) await stack.disposeAsync()
    return opened
  } catch (error) {
    await stack.disposeAsync()
    throw error
  }
}
