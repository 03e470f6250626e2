import { type Document, MongoClient } from 'mongodb'
import { readRedisFacts } from '#queue/redis-facts.ts'
import type { WorkerSettings } from './config.ts'
import { clockFinding } from './doctor-clock.ts'
import { type Check, type Finding, failure, ok, warning } from './doctor-report.ts'

const CONNECT_MS = 5_000

/** BullMQ needs 6.2: https://docs.bullmq.io */
const OLDEST_REDIS = [6, 2] as const

const withMongo = async <T>(url: string, work: (client: MongoClient) => Promise<T>): Promise<T> => {
  const client = new MongoClient(url, { serverSelectionTimeoutMS: CONNECT_MS, connectTimeoutMS: CONNECT_MS })
  try {
    return await work(client)
  } finally {
    await client.close()
  }
}

const REPLICA_SET =
  'Start mongod with --replSet and run rs.initiate() once (one member is enough), and name the set in MONGODB_URL.'

type Privilege = {
  readonly resource: { readonly db?: string; readonly collection?: string; readonly anyResource?: boolean }
  readonly actions: readonly string[]
}

const privilegesOf = async (client: MongoClient): Promise<{ users: number; privileges: readonly Privilege[] }> => {
  const { authInfo } = await client.db('admin').command({ connectionStatus: 1, showPrivileges: true })
  return { users: authInfo.authenticatedUsers.length, privileges: authInfo.authenticatedUserPrivileges ?? [] }
}

const loginFinding = async (client: MongoClient): Promise<Finding> =>
  (await privilegesOf(client)).users > 0
    ? ok('MongoDB, login', 'by user and password')
    : warning('MongoDB, login', 'it asks nobody who they are', 'Give it users (authorization) where others reach it.')

/** Written and taken away again, in a collection that nobody else has. */
const writeFinding = async (client: MongoClient, db: string): Promise<Finding> => {
  const probe = client.db(db).collection('doctor')
  try {
    const { insertedId } = await probe.insertOne(
      { at: new Date() },
      { writeConcern: { w: 'majority', wtimeoutMS: CONNECT_MS } },
    )
    await probe.deleteOne({ _id: insertedId })
    await probe.drop().catch(() => false)
    return ok('MongoDB, rights', `the database "${db}" can be written`)
  } catch (error) {
    return failure('MongoDB, rights', `cannot write to "${db}": ${error}`, 'Give its user readWrite and dbAdmin there.')
  }
}

const mongoFindings = (url: string, db: string): Promise<Finding[]> =>
  withMongo(url, async (client) => {
    const hello: Document = await client.db('admin').command({ hello: 1 })
    const { version } = await client.db('admin').command({ buildInfo: 1 })
    if (hello.setName === undefined) {
      return [failure('MongoDB', `${version}, alone: without a replica set there are no change streams`, REPLICA_SET)]
    }
    return [
      ok('MongoDB', `${version}, replica set ${hello.setName}`),
      clockFinding('clock of MongoDB', hello.localTime),
      await loginFinding(client),
      await writeFinding(client, db),
    ]
  })

const MAY = new Set(['find', 'insert'])

/** Rights of the agents' user beyond reading and adding events, in words. */
const tooMuch = (privileges: readonly Privilege[], db: string): string[] =>
  privileges
    .filter(({ resource }) => Object.keys(resource).length > 0)
    .filter(({ resource, actions }) => {
      const isEvents = resource.db === db && resource.collection === 'events'
      return !isEvents || actions.some((action) => !MAY.has(action))
    })
    .map(
      ({ resource, actions }) =>
        `${actions.slice(0, 3).join(', ')} in ${resource.db ?? '*'}.${resource.collection ?? '*'}`,
    )

const agentFindings = (url: string, db: string): Promise<Finding[]> =>
  withMongo(url, async (client) => {
    const { users, privileges } = await privilegesOf(client)
    const remedy = 'Give AGENT_MONGODB_URL a user that may only find and insert in events, as mongo-init makes it.'
    if (users === 0) return [failure("agents' MongoDB user", 'there is none: agents may do everything', remedy)]
    const more = tooMuch(privileges, db)
    if (more.length === 0) return [ok("agents' MongoDB user", 'may find and insert in events, and nothing else')]
    return [failure("agents' MongoDB user", `may do more: ${more.slice(0, 3).join('; ')}`, remedy)]
  })

const isOld = (version: string): boolean => {
  const [major = 0, minor = 0] = version.split('.').map(Number)
  return major < OLDEST_REDIS[0] || (major === OLDEST_REDIS[0] && minor < OLDEST_REDIS[1])
}

const redisFindings = async (url: string): Promise<Finding[]> => {
  const { version, evictionPolicy, appendOnlyFile, now } = await readRedisFacts(url)
  const safe = evictionPolicy === 'noeviction'
  return [
    isOld(version)
      ? failure('Redis', `${version} is too old`, `Use Redis ${OLDEST_REDIS.join('.')} or newer.`)
      : ok('Redis', version),
    safe
      ? ok('Redis, eviction', evictionPolicy)
      : failure('Redis, eviction', `${evictionPolicy}: it may forget jobs`, 'Set maxmemory-policy noeviction.'),
    appendOnlyFile
      ? ok('Redis, persistence', 'append-only file')
      : warning(
          'Redis, persistence',
          'no append-only file',
          'Set appendonly yes: else a restart loses jobs until reconcile finds them.',
        ),
    clockFinding('clock of Redis', now),
  ]
}

/** MongoDB and Redis, as a worker with these settings uses them. */
export const serviceChecks = ({ services, worker }: WorkerSettings): readonly Check[] => {
  const { mongodbUrl, mongodbDb, redisUrl } = services
  const { channel } = worker
  const start = 'Start it, or correct'
  return [
    { name: 'MongoDB', remedy: `${start} MONGODB_URL.`, run: () => mongoFindings(mongodbUrl, mongodbDb) },
    ...(channel.kind === 'direct'
      ? [
          {
            name: "agents' MongoDB user",
            remedy: `${start} AGENT_MONGODB_URL.`,
            run: () => agentFindings(channel.mongodbUrl, channel.mongodbDb),
          },
        ]
      : []),
    { name: 'Redis', remedy: `${start} REDIS_URL.`, run: () => redisFindings(redisUrl) },
  ]
}
