import { execFile } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { freePort } from '../tests/helpers.ts'
import { type MongoService, startMongo } from '../tests/services/mongodb.ts'
import { type RedisService, startRedis } from '../tests/services/redis.ts'
import { installationOf, untilIdle } from './docker.ts'
import { type Child, startNode, untilReady } from './process.ts'
import { startStubModel } from './stub-model.ts'

const run = promisify(execFile)
/** As in package.json and docker-compose.yml: a client that only waits costs half the memory. */
const API_FLAGS = ['--max-semi-space-size=4']

const MAIN = join(import.meta.dirname, '..', 'src', 'main')

/** What every part of the benchmark shares: the services, a stub model, an image, and the address containers reach us at. */
export type Bench = {
  readonly mongo: MongoService
  readonly redis: RedisService
  readonly image: string
  /** This machine's address on Docker's default bridge. */
  readonly bridge: string
  readonly modelPort: number
  /** Small numbers everywhere: does it work, not how fast is it. */
  readonly quick: boolean
} & AsyncDisposable

const bridgeAddress = async (): Promise<string> => {
  const { stdout } = await run('docker', ['network', 'inspect', 'bridge', '-f', '{{(index .IPAM.Config 0).Gateway}}'])
  // A daemon that never ran a container there names no gateway yet; 172.17.0.1 is Docker's own default.
  return stdout.trim() || '172.17.0.1'
}

export const openBench = async (image: string, quick: boolean): Promise<Bench> => {
  await using stack = new AsyncDisposableStack()
  const bridge = await bridgeAddress()
  const mongo = await startMongo({ own: true, alsoBind: [bridge] })
  if ('skip' in mongo) throw new Error(mongo.skip)
  stack.use(mongo)
  const redis = await startRedis({ own: true })
  if ('skip' in redis) throw new Error(redis.skip)
  stack.use(redis)
  const model = stack.use(await startStubModel('0.0.0.0'))
  const kept = stack.move()
  return {
    mongo,
    redis,
    image,
    bridge,
    modelPort: model.port,
    quick,
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  }
}

export type Stack = {
  readonly url: string
  readonly api: Child
  readonly db: string
  /** Waits until it has no container left but those that are kept warm, and all of these. */
  idle(): Promise<void>
} & AsyncDisposable

/** How a stack is set up. `pool`: containers kept warm (0 = every start is a cold one). */
export type StackOptions = { readonly name: string; readonly concurrency?: number; readonly pool?: number }

const CONCURRENCY = 8

const serviceEnv = (bench: Bench, db: string, port: number): Record<string, string> => ({
  PORT: String(port),
  MONGODB_URL: bench.mongo.url,
  MONGODB_DB: db,
  REDIS_URL: bench.redis.url,
  // What is measured is accepting, not refusing.
  MAX_QUEUED_RUNS: '1000000',
  LOG_LEVEL: 'warn',
})

/** The API process alone, on MongoDB and Redis. `nodeArgs` come before its own. */
export const startApi = async (bench: Bench, db: string, nodeArgs: readonly string[] = []): Promise<Stack> => {
  const port = await freePort()
  const api = startNode(join(MAIN, 'api.ts'), serviceEnv(bench, db, port), [...nodeArgs, ...API_FLAGS])
  const url = `http://127.0.0.1:${port}`
  await untilReady(`${url}/readyz`)
  return { url, api, db, idle: async () => {}, [Symbol.asyncDispose]: () => api[Symbol.asyncDispose]() }
}

const idleFor =
  (installation: string, { pool = 0 }: StackOptions) =>
  () =>
    untilIdle(installation, pool)

const tempRoot = async (stack: AsyncDisposableStack): Promise<string> => {
  const root = await mkdtemp(join(tmpdir(), 'mgx-bench-'))
  stack.defer(() => rm(root, { recursive: true, force: true }))
  return root
}

const workerEnv = (bench: Bench, root: string, installation: string, { concurrency, pool = 0 }: StackOptions) => ({
  AGENT_CONTAINER_IMAGE: bench.image,
  WORKSPACES_ROOT: root,
  MGX_INSTALLATION: installation,
  WORKER_CONCURRENCY: String(concurrency ?? CONCURRENCY),
  WARM_POOL_SIZE: String(pool),
  OPENAI_API_KEY: 'bench',
  OPENAI_MODEL: 'stub',
})

/** API and worker as two processes on MongoDB, Redis and Docker, in one of the two channels. */
export const startServices = async (
  bench: Bench,
  channel: 'gateway' | 'direct',
  options: StackOptions,
): Promise<Stack> => {
  await using stack = new AsyncDisposableStack()
  const db = `bench_${options.name}`
  const installation = installationOf(options.name)
  const root = await tempRoot(stack)
  const api = stack.use(await startApi(bench, db))
  const model = `http://${channel === 'direct' ? bench.bridge : '127.0.0.1'}:${bench.modelPort}/v1`
  stack.use(
    startNode(join(MAIN, 'worker.ts'), {
      ...serviceEnv(bench, db, 0),
      ...workerEnv(bench, root, installation, options),
      AGENT_CHANNEL: channel,
      AGENT_MONGODB_URL: bench.mongo.urlFor({ host: bench.bridge, direct: true }),
      OPENAI_BASE_URL: model,
    }),
  )
  const kept = stack.move()
  const { url } = api
  return {
    url,
    api: api.api,
    db,
    idle: idleFor(installation, options),
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  }
}

/** The embedded mode: one process, SQLite, in-process queue, gateway. */
export const startEmbedded = async (bench: Bench, options: StackOptions): Promise<Stack> => {
  await using stack = new AsyncDisposableStack()
  const installation = installationOf(options.name)
  const root = await tempRoot(stack)
  const port = await freePort()
  const api = stack.use(
    startNode(join(MAIN, 'dev.ts'), {
      PORT: String(port),
      LOG_LEVEL: 'warn',
      ENGINE: 'docker',
      ...workerEnv(bench, root, installation, options),
      OPENAI_BASE_URL: `http://127.0.0.1:${bench.modelPort}/v1`,
    }),
  )
  const url = `http://127.0.0.1:${port}`
  await untilReady(`${url}/readyz`)
  const kept = stack.move()
  return { url, api, db: '', idle: idleFor(installation, options), [Symbol.asyncDispose]: () => kept.disposeAsync() }
}

/** The architecture of the user's document: bench/polling/server.ts. */
export const startPolling = async (bench: Bench, options: StackOptions): Promise<Stack> => {
  await using stack = new AsyncDisposableStack()
  const db = `bench_${options.name}`
  const installation = installationOf(options.name)
  const port = await freePort()
  const api = stack.use(
    startNode(join(import.meta.dirname, 'polling', 'server.ts'), {
      PORT: String(port),
      MONGODB_URL: bench.mongo.url,
      MONGODB_DB: db,
      REDIS_URL: bench.redis.url,
      IMAGE: bench.image,
      INSTALLATION: installation,
      AGENT_MONGODB_URL: bench.mongo.urlFor({ host: bench.bridge, direct: true }),
      OPENAI_BASE_URL: `http://${bench.bridge}:${bench.modelPort}/v1`,
      WORKSPACES_ROOT: await tempRoot(stack),
      CONCURRENCY: String(options.concurrency ?? CONCURRENCY),
    }),
  )
  const url = `http://127.0.0.1:${port}`
  await untilReady(`${url}/readyz`)
  const kept = stack.move()
  return { url, api, db, idle: idleFor(installation, options), [Symbol.asyncDispose]: () => kept.disposeAsync() }
}
