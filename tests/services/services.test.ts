import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { describe, it } from 'node:test'
import { Redis } from 'ioredis'
import { MongoClient } from 'mongodb'
import { waitFor } from '../helpers.ts'
import { openDocker } from './docker.ts'
import { startMongo } from './mongodb.ts'
import { startRedis } from './redis.ts'

describe('the services of the tests', () => {
  it('MongoDB: users, transactions, and the data is there after a kill and a restart', async (t) => {
    const mongo = await startMongo({ auth: true })
    if ('skip' in mongo) return t.skip(mongo.skip)
    await using stack = new AsyncDisposableStack()
    stack.use(mongo)
    const client = new MongoClient(mongo.url)
    stack.defer(() => client.close())
    const things = client.db('t').collection('things')
    await client.withSession((session) =>
      session.withTransaction(() => things.insertOne({ a: 1 }, { session, writeConcern: { w: 'majority' } })),
    )
    await mongo.kill()
    await mongo.restart()
    assert.equal(await things.countDocuments(), 1)
    const stranger = new MongoClient(mongo.urlFor({ direct: true }))
    stack.defer(() => stranger.close())
    await assert.rejects(stranger.db('t').collection('things').countDocuments(), /requires authentication/)
  })

  it('MongoDB: a paused server does not answer, a resumed one does', async (t) => {
    const mongo = await startMongo({ own: true })
    if ('skip' in mongo) return t.skip(mongo.skip)
    await using stack = new AsyncDisposableStack()
    stack.use(mongo)
    const client = new MongoClient(mongo.url, {
      socketTimeoutMS: 300,
      serverSelectionTimeoutMS: 300,
      retryReads: false,
    })
    stack.defer(() => client.close())
    const ping = () => client.db('t').command({ ping: 1 })
    await ping()
    await mongo.pause()
    await assert.rejects(ping())
    mongo.resume()
    await waitFor(ping)
  })

  it('Redis: keeps its data over a kill when asked to, and leaves nothing behind', async (t) => {
    const redis = await startRedis({ persist: true })
    if ('skip' in redis) return t.skip(redis.skip)
    const dir = redis.dir
    const client = new Redis(redis.url)
    client.on('error', () => {})
    try {
      await client.set('a', '1')
      await redis.kill()
      await redis.restart()
      assert.equal(await client.get('a'), '1')
    } finally {
      client.disconnect()
      await redis[Symbol.asyncDispose]()
    }
    assert.equal(existsSync(dir), false)
  })

  it('Docker answers', async (t) => {
    const opened = await openDocker()
    if ('skip' in opened) return t.skip(opened.skip)
    assert.match((await opened.docker.version()).ApiVersion, /^1\.\d+$/)
  })
})
