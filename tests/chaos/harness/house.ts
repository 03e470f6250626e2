import { join } from 'node:path'
import { openStack, type Stack, type StackOptions } from '../../e2e/stack.ts'
import type { StackNode } from '../../e2e/stack-node.ts'
import { freePort } from '../../helpers.ts'
import { type CuttableProxy, openCuttableProxy } from '../../services/cuttable-proxy.ts'
import type { Skip } from '../../services/daemon.ts'
import type { ModelServer } from '../model-wire.ts'
import { type Disk, openDisk } from './disk.ts'
import type { Channel, Plan } from './plan.ts'

/** A whole mgx for one channel: its own MongoDB, Redis, two APIs, two workers, workspaces; with what may be cut and filled. */
export type House = AsyncDisposable & {
  readonly channel: Channel
  readonly stack: Stack
  /** Between whoever asks the model (worker or agent) and the model. */
  readonly modelWire: CuttableProxy
  /** Between the agents and MongoDB, in the direct channel. */
  readonly storeWire?: CuttableProxy
  readonly disk: Disk | Skip
  /** A worker that keeps no containers waiting: where it has looked around, nothing of ours is left. */
  addJanitor(): Promise<StackNode>
}

export type HouseOptions = {
  readonly channel: Channel
  readonly gateway: Plan['gateway']
  /** An address of this machine that agents reach. */
  readonly bridge: string
  readonly model: ModelServer
  /** A directory that is there, for its workspaces. */
  readonly dir: string
  /** Without a small file system of its own it keeps its workspaces like any other. */
  readonly ownDisk: boolean
  readonly env: Readonly<Record<string, string>>
}

const NODES = { apis: 2, workers: 2 } as const

const ENV = {
  // Two workers of this size in each of two houses: eight agents at once, more would starve two cores.
  WORKER_CONCURRENCY: '2',
  AGENT_CONTAINER_MEMORY_LIMIT: '512m',
}

const openWire = async (host: string, to: { readonly host: string; readonly port: number }) => {
  const at = { host, port: await freePort(host) }
  return { at, wire: await openCuttableProxy(at, to) }
}

/** In front of MongoDB, for the agents: their own URL with another address. */
const openStoreWire = async (stack: Stack, bridge: string): Promise<{ wire: CuttableProxy; url: string }> => {
  const { at, wire } = await openWire(bridge, { host: '127.0.0.1', port: stack.mongo.port })
  const url = (stack.agentsUrl ?? '').replace(`${bridge}:${stack.mongo.port}`, `${at.host}:${at.port}`)
  return { wire, url }
}

const open = async (opened: AsyncDisposableStack, options: HouseOptions): Promise<House | Skip> => {
  const { channel, bridge, model } = options
  const root = join(options.dir, channel)
  const disk = options.ownDisk ? await openDisk(root) : { skip: 'not asked for' }
  if (!('skip' in disk)) opened.use(disk)
  const outside = channel === 'direct' ? bridge : '127.0.0.1'
  const { at, wire: modelWire } = await openWire(outside, model)
  opened.use(modelWire)
  const env = { ...ENV, OPENAI_BASE_URL: `http://${at.host}:${at.port}/v1`, ...options.env }
  const kind: StackOptions['channel'] = channel === 'direct' ? 'direct' : options.gateway
  const place = 'skip' in disk ? {} : { root }
  const stack = await openStack({
    channel: kind,
    own: true,
    apis: NODES.apis,
    workers: 0,
    balanced: kind === 'tcp',
    env,
    ...place,
  })
  if ('skip' in stack) return stack
  opened.use(stack)
  const store = channel === 'direct' ? await openStoreWire(stack, bridge) : undefined
  if (store) opened.use(store.wire)
  const more = store ? { AGENT_MONGODB_URL: store.url } : {}
  await Promise.all(Array.from({ length: NODES.workers }, () => stack.addWorker(more)))
  return {
    channel,
    stack,
    modelWire,
    ...(store && { storeWire: store.wire }),
    disk,
    addJanitor: () => stack.addWorker({ ...more, WARM_POOL_SIZE: '0' }),
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  }
}

export const openHouse = async (options: HouseOptions): Promise<House | Skip> => {
  const opened = new AsyncDisposableStack()
  try {
    const house = await open(opened, options)
    if ('skip' in house) await opened.disposeAsync()
    return house
  } catch (error) {
    await opened.disposeAsync()
    throw error
  }
}

/** What a process of a house is called in what is printed. */
export const nodesOf = ({ channel, stack }: House): { readonly name: string; readonly node: StackNode }[] => [
  ...stack.workers.map((node, index) => ({ name: `${channel} worker ${index}`, node })),
  ...stack.apis.map((node, index) => ({ name: `${channel} API ${index}`, node })),
]
