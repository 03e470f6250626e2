import { Redis } from 'ioredis'
import { MongoClient } from 'mongodb'
import { MONGO_USERS, putUsers } from '#main/mongo-users.ts'
import type { Skip } from '../services/daemon.ts'
import { type MongoService, startMongo } from '../services/mongodb.ts'
import { type RedisService, startRedis } from '../services/redis.ts'

/** MongoDB and Redis of a stack, and who may come to them. */
export type StackData = {
  readonly mongo: MongoService
  readonly redis: RedisService
  /** Sees everything, as its administrator. */
  readonly client: MongoClient
  /** What API and worker get. */
  readonly servicesUrl: string
  /** What an agent gets in the direct channel: a user that may only find and insert events. */
  readonly agentsUrl?: string
}

export type DataOptions = {
  readonly db: string
  /** A MongoDB and a Redis that nobody else uses: to be killed, paused, restarted, flushed. */
  readonly own: boolean
  /** Agents come to MongoDB by themselves, from this machine's address on Docker's bridge: it wants users then. */
  readonly direct?: { readonly bridge: string } | undefined
}

const PASSWORD = 'e2e-secret'

const forget = async (client: MongoClient, redis: RedisService, db: string): Promise<void> => {
  await client.db(db).dropDatabase()
  const queue = new Redis(redis.url)
  try {
    const keys = await queue.keys(`${db}*`)
    if (keys.length > 0) await queue.del(keys)
  } finally {
    queue.disconnect()
  }
}

export const openData = async (
  stack: AsyncDisposableStack,
  { db, own, direct }: DataOptions,
): Promise<StackData | Skip> => {
  const mongo = await startMongo({ own, ...(direct && { auth: true, alsoBind: [direct.bridge] }) })
  if ('skip' in mongo) return mongo
  stack.use(mongo)
  const redis = await startRedis({ own })
  if ('skip' in redis) return redis
  stack.use(redis)
  const client = stack.adopt(new MongoClient(mongo.url), (open) => open.close())
  // A server of this stack's own goes with all that is in it, and may be dead by then.
  if (!own && !direct) stack.defer(() => forget(client, redis, db))
  if (!direct) return { mongo, redis, client, servicesUrl: mongo.url }
  await putUsers(client.db('admin'), db, { services: PASSWORD, agents: PASSWORD })
  const user = (who: keyof typeof MONGO_USERS) => ({ user: MONGO_USERS[who], password: PASSWORD })
  return {
    mongo,
    redis,
    client,
    servicesUrl: mongo.urlFor(user('services')),
    agentsUrl: mongo.urlFor({ ...user('agents'), host: direct.bridge, direct: true }),
  }
}
