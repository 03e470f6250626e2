import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { after, describe, test } from 'node:test'
import { MongoClient } from 'mongodb'
import { eventIds, type SessionEvent } from '#contracts/events.ts'
import type { Run } from '#contracts/run.ts'
import { createFollower } from '#store/follow.ts'
import { openMongoStore } from '#store/mongodb.ts'
import { openMongoEventLog } from '#store/mongodb-event-log.ts'
import { eventLogSuite } from '../conformance/event-log.ts'
import { runLogsSuite } from '../conformance/run-logs.ts'
import { runStoreSuite } from '../conformance/run-store.ts'
import { delta, finish, newRef, newRunOf, nextRun, readLog, type StoreWorld } from '../conformance/store-world.ts'
import { type MongoService, startMongo } from '../services/mongodb.ts'

const service = await startMongo()

/** A database of its own; `raw` is a client past the adapter. */
const openWorld = async (mongo: MongoService): Promise<StoreWorld & { raw: MongoClient; db: string }> => {
  const db = `mgx_test_${randomUUID().slice(0, 8)}`
  const raw = new MongoClient(mongo.url)
  return {
    raw,
    db,
    connect: () => openMongoStore({ url: mongo.url, db }),
    rawEvent: async (event) =>
      void (await raw
        .db(db)
        .collection<SessionEvent>('events')
        .insertOne(event as never)),
    rawRun: async (run) => {
      await raw
        .db(db)
        .collection<Run & { _id: string }>('runs')
        .insertOne({ _id: run.run_id, ...run })
    },
    async [Symbol.asyncDispose]() {
      await raw.db(db).dropDatabase()
      await raw.close()
    },
  }
}

const documents = (mongo: MongoService) => {
  test("the user's document: its queries, in order and by index", async () => {
    await using world = await openWorld(mongo)
    await using store = await world.connect()
    const ref = newRef()
    const at = new Date()
    const events = Array.from({ length: 30 }, (_, n) => ({ ...delta(ref, n), timestamp: at }))
    await store.events.append(ref.session_id, [...events, { ...finish(ref), timestamp: at }])
    const collection = world.raw.db(world.db).collection('events')
    const query = collection.find({ session_id: ref.session_id }).sort({ timestamp: 1 })
    const found = await query.clone().toArray()
    assert.deepEqual(found, await readLog(store.events, ref.session_id))
    const { queryPlanner } = await query.explain('queryPlanner')
    assert.ok(!JSON.stringify(queryPlanner.winningPlan).includes('"stage":"SORT"'))
    const finished = await collection.find({ session_id: ref.session_id, event_type: 'finish' }).toArray()
    assert.deepEqual(
      finished.map(({ _id, run_id, timestamp }) => ({ _id: String(_id), run_id, date: timestamp instanceof Date })),
      [{ _id: eventIds.finish(ref.run_id), run_id: ref.run_id, date: true }],
    )
  })

  test('a run is a document under its run_id, a session one under its own', async () => {
    await using world = await openWorld(mongo)
    await using store = await world.connect()
    const run = newRunOf()
    await store.runs.accept(run)
    const db = world.raw.db(world.db)
    const stored = await db.collection<{ _id: string }>('runs').findOne({ _id: run.run_id })
    assert.equal(stored && 'run_id' in stored && stored.run_id, run.run_id)
    const [session] = await db.collection('sessions').find({ session_id: run.session_id }).toArray()
    assert.equal(session?.workspace_id, run.workspace_id)
  })

  test('a session whose document a crash left out is there all the same', async () => {
    await using world = await openWorld(mongo)
    const run = newRunOf()
    {
      await using store = await world.connect()
      await store.runs.accept(run)
      await store.runs.releaseLock(run.run_id)
    }
    const sessions = world.raw.db(world.db).collection('sessions')
    await sessions.deleteMany({})
    await using store = await world.connect()
    const next = { ...newRunOf(run), run_id: nextRun(run).run_id }
    const elsewhere = await store.runs.accept({ ...next, workspace_id: randomUUID() })
    assert.equal(elsewhere.outcome, 'session_mismatch')
    const result = await store.runs.accept(next)
    assert.equal(result.outcome === 'accepted' && result.newSession, false)
    const session = await store.runs.getSession(run.tenant_id, run.session_id)
    assert.deepEqual(session?.created_at, run.created_at)
    assert.equal(await sessions.countDocuments({}), 1)
  })

  test('a take-up looks up what it asks for, and not for it among all runs there are', async () => {
    await using world = await openWorld(mongo)
    await using store = await world.connect()
    const db = world.raw.db(world.db)
    const taken = { state: 'running', attempt: 1, lock: false, engine_id: 'other', container_gone: false }
    const atWork = (of = {}) => ({ ...newRunOf(of), ...taken })
    const over = () => ({ ...atWork(), engine_id: 'mine', state: 'finished', container_gone: true })
    const asked = newRunOf()
    const inTheWay = [atWork({ session_id: asked.session_id }), atWork({ workspace_id: asked.workspace_id })]
    const mine = Array.from({ length: 3 }, () => ({ ...atWork(), engine_id: 'mine', memory_bytes: 5 }))
    const others = Array.from({ length: 200 }, (_, n) => (n % 2 ? atWork() : over()))
    const runs = [...others, ...inTheWay, ...mine]
    await db.collection<{ _id: string }>('runs').insertMany(runs.map((run) => ({ _id: run.run_id, ...run })))
    await db.command({ profile: 2 })
    const blockers = await store.runs.blockers(asked)
    assert.deepEqual(blockers.map(({ run_id }) => run_id).sort(), inTheWay.map(({ run_id }) => run_id).sort())
    assert.deepEqual(await store.runs.blockers(newRunOf()), [])
    assert.equal(await store.runs.memoryHeld('mine', 1), 15)
    await db.command({ profile: 0 })
    const looked = await db
      .collection('system.profile')
      .find({ ns: `${world.db}.runs` })
      .toArray()
    assert.equal(looked.length, 3)
    for (const { command, docsExamined, keysExamined } of looked) {
      assert.ok(docsExamined <= 3 && keysExamined <= 5, `${JSON.stringify(command)}: ${docsExamined}, ${keysExamined}`)
    }
  })

  test('opening twice makes the indexes once, by many at a time', async () => {
    await using world = await openWorld(mongo)
    await using stores = new AsyncDisposableStack()
    const opened = await Promise.all(Array.from({ length: 5 }, async () => stores.use(await world.connect())))
    await Promise.all(opened.map((store) => store.runs.ping()))
    const names = (await world.raw.db(world.db).collection('events').indexes()).map((index) => index.name)
    assert.deepEqual(names.toSorted(), ['_id_', 'one_finish', 'place', 'run', 'time', 'type'])
  })

  test('no two indexes of a collection have the same key: servers before 5.0 refuse the second', async () => {
    await using world = await openWorld(mongo)
    await using store = await world.connect()
    await store.runs.ping()
    for (const name of ['events', 'runs', 'sessions', 'run_logs']) {
      const keys = (await world.raw.db(world.db).collection(name).indexes()).map(({ key }) => JSON.stringify(key))
      assert.equal(new Set(keys).size, keys.length, `${name}: ${keys}`)
    }
  })
}

const processes = (mongo: MongoService) => {
  test('what is written while the change stream is being opened wakes as well', { timeout: 30_000 }, async () => {
    await using world = await openWorld(mongo)
    await using writer = await world.connect()
    await writer.runs.ping()
    await using reader = await world.connect()
    const ref = newRef()
    const wakeUps = reader.events.changes(ref.session_id, AbortSignal.timeout(25_000))[Symbol.asyncIterator]()
    const woken = wakeUps.next()
    await writer.events.append(ref.session_id, [delta(ref, 0)])
    assert.equal((await woken).done, false)
    await wakeUps.return?.()
  })

  test('followers in another process, on many sessions: one change stream', { timeout: 60_000 }, async () => {
    await using world = await openWorld(mongo)
    await using reader = await world.connect()
    await using writer = await world.connect()
    const errors: unknown[] = []
    // No poll: what comes has come over the change stream.
    await using follower = createFollower(reader.events, { pollMs: 3_600_000, onError: (error) => errors.push(error) })
    const refs = Array.from({ length: 20 }, () => newRef())
    const ended = refs.map(async (ref) => {
      const seqs: number[] = []
      for await (const event of follower.follow(ref.session_id, { after: 0, signal: AbortSignal.timeout(50_000) })) {
        seqs.push(event.seq)
        if (event.event_type === 'finish') break
      }
      return seqs
    })
    for (let n = 0; n < 5; n++) {
      await Promise.all(
        refs.map((ref) => writer.events.append(ref.session_id, [delta(ref, 2 * n), delta(ref, 2 * n + 1)])),
      )
    }
    await Promise.all(refs.map((ref) => writer.events.append(ref.session_id, [finish(ref)])))
    const expected = Array.from({ length: 11 }, (_, i) => i + 1)
    for (const seqs of await Promise.all(ended)) assert.deepEqual(seqs, expected)
    assert.deepEqual(errors, [])
    const cursors = await world.raw
      .db('admin')
      .aggregate([{ $currentOp: { idleCursors: true, allUsers: true } }])
      .toArray()
    const open = cursors.filter((op) => JSON.stringify(op).includes('$changeStream') && op.ns === `${world.db}.events`)
    assert.equal(open.length, 1)
  })
}

if ('skip' in service) {
  test('mongodb', { skip: service.skip }, () => {})
} else {
  after(() => service[Symbol.asyncDispose]())
  eventLogSuite('mongodb', () => openWorld(service))
  runStoreSuite('mongodb', () => openWorld(service))
  runLogsSuite('mongodb', () => openWorld(service))
  describe('mongodb', () => {
    documents(service)
    processes(service)
  })
}

/** A role that may do only what the design lists, and a log opened with it. */
const restricted = async (mongo: MongoService) => {
  const db = `mgx_test_${randomUUID().slice(0, 8)}`
  await using root = new MongoClient(mongo.url)
  const privileges = [{ resource: { db, collection: 'events' }, actions: ['find', 'insert'] }]
  await root.db('admin').command({ createRole: `${db}_agent`, privileges, roles: [] })
  await root.db('admin').command({ createUser: `${db}_agent`, pwd: 'secret', roles: [`${db}_agent`] })
  return { db, url: mongo.urlFor({ user: `${db}_agent`, password: 'secret' }) }
}

describe('mongodb: an agent that may only find and insert', async () => {
  const own = await startMongo({ auth: true })
  if ('skip' in own) {
    test('restricted user', { skip: own.skip }, () => {})
    return
  }
  after(() => own[Symbol.asyncDispose]())

  test('append, list, marks and tail work; update, delete and other collections do not', async () => {
    const { db, url } = await restricted(own)
    await using store = await openMongoStore({ url: own.url, db })
    await using log = await openMongoEventLog({ url, db })
    const ref = newRef()
    await store.events.append(ref.session_id, [delta(ref, 0, 'api')])
    const first = await log.append(ref.session_id, [delta(ref, 0), delta(ref, 1)], { unlessEnding: true })
    assert.deepEqual(first, { outcome: 'stored', seqs: [2, 3], tail: 3, ending: false })
    await store.events.append(ref.session_id, [delta(ref, 1, 'api')])
    const second = await log.append(ref.session_id, [delta(ref, 1), finish(ref)])
    assert.deepEqual(second, { outcome: 'stored', seqs: [3, 5], tail: 5, ending: false })
    assert.deepEqual(await readLog(log, ref.session_id), await readLog(store.events, ref.session_id))
    assert.equal((await log.marks(ref.session_id, ref.run_id)).finish?.seq, 5)
    assert.equal(await log.tail(ref.session_id), 5)
    await using client = new MongoClient(url)
    const events = client.db(db).collection('events')
    await assert.rejects(events.deleteMany({}), /not authorized|Unauthorized/)
    await assert.rejects(events.updateMany({}, { $set: { data: {} } }), /not authorized|Unauthorized/)
    await assert.rejects(events.drop(), /not authorized|Unauthorized/)
    await assert.rejects(client.db(db).collection('runs').findOne({}), /not authorized|Unauthorized/)
  })
})
