import { createClient, reachMongo, type StoreLog, untilDone } from './mongodb-client.ts'
import { createMongoEvents } from './mongodb-events.ts'
import { ensureIndexes } from './mongodb-indexes.ts'
import { createMongoLogs } from './mongodb-logs.ts'
import { createMongoRuns } from './mongodb-runs.ts'
import type { OpenStore } from './store.ts'
import { createTailCache } from './tail-cache.ts'

export type MongoStoreOptions = {
  /** Must name a replica set, of one server at least: change streams and majorities need it. */
  readonly url: string
  readonly db: string
  readonly log?: StoreLog
}

/**
 * Everything in one MongoDB database, for any number of API processes and workers.
 * Opens also while MongoDB is down: operations then reject as `UNAVAILABLE` within seconds, `runs.ping` with the reason,
 * and all goes on once it is back. Nothing is read or written before the indexes are there: the promises hang on them.
 */
export const openMongoStore = async ({ url, db: name, log }: MongoStoreOptions): Promise<OpenStore> => {
  const quiet: StoreLog = { warn: () => {} }
  const client = createClient(url)
  const db = client.db(name)
  const ready = untilDone(async () => {
    await client.connect()
    await ensureIndexes(db)
  })
  const tails = createTailCache()
  const events = createMongoEvents({ client, events: db.collection('events'), tails, log: log ?? quiet, ready })
  void reachMongo(ready).catch((err: unknown) =>
    (log ?? quiet).warn({ err }, 'MongoDB is not ready: trying again with the next operation'),
  )
  return {
    events,
    runs: createMongoRuns({ db, tails, ready }),
    logs: createMongoLogs(db, ready),
    [Symbol.asyncDispose]: async () => {
      await events[Symbol.asyncDispose]()
      await client.close()
    },
  }
}
