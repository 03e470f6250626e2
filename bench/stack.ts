import { execFile } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { freePort } from '../tests/helpers.ts'
import { type MongoService, startMongo } from '../tests/services/mongodb.ts'
import { type RedisService, startRedis } from '../tests/services/redis.ts'
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
} & AsyncDisposable

const bridgeAddress = async (): Promise<string> => {
  const { stdout } = await run('docker', ['network', 'inspect', 'bridge', '-f', '{{(index .IPAM.Config 0).Gateway}}'])
  // A daemon that never ran a container there names no gateway yet; 172.17.0.1 is Docker's own default.
  return stdout.trim() || '172.17.0.1'
}

export const openBench = async (image: string): Promise<Bench> => {
  const stack = new AsyncDisposableStack()
  const bridge = await bridgeAddress()
  const mongo = await startMongo({ own: true, alsoBind: [bridge] })
  if ('skip' in mongo) throw new Error(mongo.skip)
  stack.use(mongo)
  const redis = await startRedis({ own: true })
  if ('skip' in redis) throw new Error(redis.skip)
  stack.use(redis)
  const model = stack.use(await startStubModel('0.0.0.0'))
  return {
    mongo,
    redis,
    image,
    bridge,
    modelPort: model.port,
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  }
}

export type Stack = { readonly url: string; readonly api: Child; readonly db: string } & AsyncDisposable

const serviceEnv = (bench: Bench, db: string, port: number): Record<string, string> => ({
  PORT: String(port),
  MONGODB_URL: bench.mongo.url,
  MONGODB_DB: db,
  REDIS_URL: bench.redis.url,
  LOG_LEVEL: 'warn',
})

/** The API process alone, on MongoDB and Redis. */
export const startApi = async (bench: Bench, db: string): Promise<Stack> => {
  const port = await freePort()
  const api = startNode(join(MAIN, 'api.ts'), serviceEnv(bench, db, port), API_FLAGS)
  const url = `http://127.0.0.1:${port}`
  await untilReady(`${url}/readyz`)
  return { url, api, db, [Symbol.asyncDispose]: () => api[Symbol.asyncDispose]() }
}

/** API and worker as two processes on MongoDB, Redis and Docker, in one of the two channels. */
export const startServices = async (bench: Bench, channel: 'gateway' | 'direct'): Promise<Stack> => {
  const stack = new AsyncDisposableStack()
  const db = `bench_${channel}`
  const root = await mkdtemp(join(tmpdir(), 'mgx-bench-'))
  stack.defer(() => rm(root, { recursive: true, force: true }))
  const api = stack.use(await startApi(bench, db))
  const model = `http://${channel === 'direct' ? bench.bridge : '127.0.0.1'}:${bench.modelPort}/v1`
  stack.use(
    startNode(join(MAIN, 'worker.ts'), {
      ...serviceEnv(bench, db, 0),
      AGENT_CHANNEL: channel,
      AGENT_CONTAINER_IMAGE: bench.image,
      AGENT_MONGODB_URL: bench.mongo.urlFor({ host: bench.bridge, direct: true }),
      WORKSPACES_ROOT: root,
      MGX_INSTALLATION: `bench-${process.pid}-${channel}`,
      OPENAI_API_KEY: 'bench',
      OPENAI_BASE_URL: model,
      OPENAI_MODEL: 'stub',
    }),
  )
  return { url: api.url, api: api.api, db, [Symbol.asyncDispose]: () => stack.disposeAsync() }
}

/** The embedded mode: one process, SQLite, in-process queue, gateway. */
export const startEmbedded = async (bench: Bench): Promise<Stack> => {
  const stack = new AsyncDisposableStack()
  const root = await mkdtemp(join(tmpdir(), 'mgx-bench-'))
  stack.defer(() => rm(root, { recursive: true, force: true }))
  const port = await freePort()
  const api = stack.use(
    startNode(join(MAIN, 'dev.ts'), {
      PORT: String(port),
      LOG_LEVEL: 'warn',
      ENGINE: 'docker',
      AGENT_CONTAINER_IMAGE: bench.image,
      WORKSPACES_ROOT: root,
      MGX_INSTALLATION: `bench-${process.pid}-embedded`,
      OPENAI_API_KEY: 'bench',
      OPENAI_BASE_URL: `http://127.0.0.1:${bench.modelPort}/v1`,
      OPENAI_MODEL: 'stub',
    }),
  )
  const url = `http://127.0.0.1:${port}`
  await untilReady(`${url}/readyz`)
  return { url, api, db: '', [Symbol.asyncDispose]: () => stack.disposeAsync() }
}
