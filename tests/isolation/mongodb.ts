import { type Db, MongoClient, MongoServerError } from 'mongodb'
import { MONGO_USERS, putUsers } from '#main/mongo-users.ts'
import type { Skip } from '../services/daemon.ts'
import { startMongo } from '../services/mongodb.ts'
import type { Row } from './table.ts'

const PASSWORDS = { services: 'of-the-services', agents: 'of-the-agents' }
const DB = 'mgx'
const UNAUTHORIZED = 13

type Try = readonly [what: string, asked: 'allowed' | 'refused', act: (db: Db) => Promise<unknown>]

/** `id` is an event that is there, of another session. */
const tries = (id: string): readonly Try[] => {
  const events = (db: Db) => db.collection<{ _id: string }>('events')
  return [
    ['read an event', 'allowed', (db) => events(db).findOne({ _id: id })],
    ['add an event', 'allowed', (db) => events(db).insertOne({ _id: 'mine' })],
    ['change an event', 'refused', (db) => events(db).updateOne({ _id: id }, { $set: { forged: true } })],
    ['replace an event', 'refused', (db) => events(db).findOneAndReplace({ _id: id }, {})],
    [
      'put an event in the place of one',
      'refused',
      (db) => events(db).updateOne({ _id: id }, [{ $set: { a: 1 } }], { upsert: true }),
    ],
    ['delete an event', 'refused', (db) => events(db).deleteOne({ _id: id })],
    ['delete all events', 'refused', (db) => events(db).deleteMany({})],
    ['drop the events', 'refused', (db) => events(db).drop()],
    ['rename the events', 'refused', (db) => events(db).rename('gone')],
    ['make or drop an index', 'refused', (db) => events(db).createIndex({ a: 1 })],
    [
      'write a query into a collection',
      'refused',
      (db) =>
        events(db)
          .aggregate([{ $out: 'copy' }])
          .toArray(),
    ],
    [
      'merge a query into events',
      'refused',
      (db) =>
        events(db)
          .aggregate([{ $merge: 'events' }])
          .toArray(),
    ],
    [
      'read runs by a join',
      'refused',
      (db) =>
        events(db)
          .aggregate([{ $lookup: { from: 'runs', as: 'r', pipeline: [] } }])
          .toArray(),
    ],
    ['read runs', 'refused', (db) => db.collection('runs').findOne()],
    ['read sessions', 'refused', (db) => db.collection('sessions').findOne()],
    ['read the output of containers', 'refused', (db) => db.collection('run_logs').findOne()],
    ['make a collection', 'refused', (db) => db.collection('mine').insertOne({})],
    ['drop the database', 'refused', (db) => db.dropDatabase()],
    ['read users', 'refused', (db) => db.admin().command({ usersInfo: { user: 'root', db: 'admin' } })],
    ['make a user', 'refused', (db) => db.admin().command({ createUser: 'x', pwd: 'x', roles: ['root'] })],
    [
      'read the log of changes of everything',
      'refused',
      (db) => db.client.db('local').collection('oplog.rs').findOne(),
    ],
    ['stop the server', 'refused', (db) => db.admin().command({ shutdown: 1 })],
  ]
}

const rowOf = async (db: Db, [what, asked, act]: Try): Promise<Row> => {
  const enforced = await act(db).then(
    () => 'allowed',
    (error: unknown) =>
      error instanceof MongoServerError && error.code === UNAUTHORIZED ? 'refused' : `failed: ${error}`,
  )
  return { what, asked, enforced, ok: asked === enforced }
}

/** What the user of the agents may do, with the rights that `mongo-init` gives it. */
export const probeMongo = async (user: keyof typeof MONGO_USERS = 'agents'): Promise<Row[] | Skip> => {
  const mongo = await startMongo({ auth: true })
  if ('skip' in mongo) return mongo
  await using stack = new AsyncDisposableStack()
  stack.use(mongo)
  const root = stack.adopt(new MongoClient(mongo.url), (client) => client.close())
  await putUsers(root.db('admin'), DB, PASSWORDS)
  for (const name of ['runs', 'sessions', 'run_logs']) await root.db(DB).collection(name).insertOne({})
  await root.db(DB).collection<{ _id: string }>('events').insertOne({ _id: 'theirs' })
  const login = { user: MONGO_USERS[user], password: PASSWORDS[user] }
  const agent = stack.adopt(new MongoClient(mongo.urlFor(login)), (client) => client.close())
  const rows: Row[] = []
  for (const one of tries('theirs')) rows.push(await rowOf(agent.db(DB), one))
  return rows
}
