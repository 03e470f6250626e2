import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import { MongoClient } from 'mongodb'
import { freePort } from '../../tests/helpers.ts'
import { startMongo } from '../../tests/services/mongodb.ts'
import { startRedis } from '../../tests/services/redis.ts'
import { type Child, startNode, untilReady } from '../process.ts'
import type { Marks } from './marks.ts'
import type { Settings } from './settings.ts'
import type { FromWorker } from './worker.ts'

/** The databases that all stands of one run share. */
export type Services = {
  readonly mongoUrl: string
  readonly redisUrl: string
  readonly client: MongoClient
  readonly mongodPid: number
  readonly redisPid: number
} & AsyncDisposable

const redisPidOf = async (url: string): Promise<number> => {
  const redis = new Redis(url)
  try {
    return Number(/^process_id:(\d+)/m.exec(await redis.info('server'))?.[1])
  } finally {
    redis.disconnect()
  }
}

/** @param own servers that nobody else uses, whatever the environment names */
export const openServices = async (own: boolean): Promise<Services | { readonly skip: string }> => {
  await using stack = new AsyncDisposableStack()
  const mongo = await startMongo(own ? { own } : {})
  if ('skip' in mongo) return mongo
  stack.use(mongo)
  const redis = await startRedis(own ? { own } : {})
  if ('skip' in redis) return redis
  stack.use(redis)
  const client = stack.use(await new MongoClient(mongo.url).connect())
  const { pid } = await client.db('admin').command({ serverStatus: 1 })
  const redisPid = await redisPidOf(redis.url)
  const kept = stack.move()
  return {
    mongoUrl: mongo.url,
    redisUrl: redis.url,
    client,
    mongodPid: Number(pid),
    redisPid,
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  }
}

/** Processes by what they are for; agents and the driver are the simulation's own. */
export type Part = 'api' | 'worker' | 'mongodb' | 'redis' | 'agents' | 'driver'

/** One API and several workers on a database of their own. */
export type Stand = {
  readonly url: string
  readonly db: ReturnType<MongoClient['db']>
  readonly pids: readonly { readonly part: Part; readonly pid: number }[]
  /** Told of each run that a worker has finished. */
  onEnded(listener: (marks: Marks) => void): void
} & AsyncDisposable

const SIMULATION = import.meta.dirname
const MAIN = join(SIMULATION, '..', '..', 'src', 'main')
const API_FLAGS = ['--max-semi-space-size=4']

const workerEnv = (settings: Settings, root: string): Record<string, string> => ({
  WORKSPACES_ROOT: root,
  MGX_INSTALLATION: `simulation-${process.pid}`,
  WORKER_CONCURRENCY: String(settings.places),
  // A machine in which all containers fit: what is looked for is our limit, not its memory's.
  WORKER_MEMORY: '1000g',
  WORKER_MEMORY_OVERCOMMIT: '100',
  WARM_POOL_SIZE: '0',
  AGENT_CHANNEL: 'gateway',
  OPENAI_API_KEY: 'simulated',
  OPENAI_MODEL: 'simulated',
  SIM_SEED: String(settings.seed),
  SIM_FAILURES: String(settings.failures),
})

/** A worker that takes runs, and the process of its agents. */
const startWorker = async (env: Record<string, string>, onEnded: (marks: Marks) => void) => {
  const worker = startNode(join(SIMULATION, 'worker.ts'), env)
  const agents = await new Promise<number>((resolve, reject) => {
    worker.process.on('message', (message: FromWorker) => {
      if ('agents' in message) resolve(message.agents)
      else onEnded(message.ended)
    })
    worker.process.once('exit', (code) => reject(new Error(`a simulated worker ended with ${code} at its start`)))
  })
  return { worker, agents }
}

/** Opens a stand; its database is dropped with it. */
export const openStand = async (services: Services, settings: Settings, name: string): Promise<Stand> => {
  await using stack = new AsyncDisposableStack()
  const db = services.client.db(`simulate_${process.pid}_${name}`)
  stack.defer(async () => void (await db.dropDatabase()))
  const root = await mkdtemp(join(tmpdir(), 'mgx-simulate-'))
  stack.defer(() => rm(root, { recursive: true, force: true, maxRetries: 5 }))
  const port = await freePort()
  const env = {
    PORT: String(port),
    MONGODB_URL: services.mongoUrl,
    MONGODB_DB: db.databaseName,
    REDIS_URL: services.redisUrl,
    MAX_QUEUED_RUNS: '1000000',
    LOG_LEVEL: process.env.SIM_LOG ?? 'error',
  }
  const api: Child = stack.use(startNode(join(MAIN, 'api.ts'), env, API_FLAGS))
  const url = `http://127.0.0.1:${port}`
  await untilReady(`${url}/readyz`)
  let listener: (marks: Marks) => void = () => {}
  const pids: { part: Part; pid: number }[] = [
    { part: 'api', pid: api.pid },
    { part: 'mongodb', pid: services.mongodPid },
    { part: 'redis', pid: services.redisPid },
    { part: 'driver', pid: process.pid },
  ]
  for (let n = 0; n < settings.workers; n++) {
    const { worker, agents } = await startWorker({ ...env, ...workerEnv(settings, root) }, (marks) => listener(marks))
    stack.use(worker)
    pids.push({ part: 'worker', pid: worker.pid }, { part: 'agents', pid: agents })
  }
  const kept = stack.move()
  return {
    url,
    db,
    pids,
    onEnded: (next) => {
      listener = next
    },
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  }
}
