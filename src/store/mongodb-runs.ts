import type { Collection, Db } from 'mongodb'
import type { GatewayRun } from '#contracts/run.ts'
import { createAccept } from './mongodb-accept.ts'
import { isDuplicate, reachMongo } from './mongodb-client.ts'
import { createMongoLine, oldestTaken } from './mongodb-line.ts'
import { type RunDocument, type SessionDocument, toRun } from './mongodb-run-table.ts'
import { createMongoSessions } from './mongodb-sessions.ts'
import type { RunStore } from './run-store.ts'
import type { TailCache } from './tail-cache.ts'

type EngineDocument = { readonly _id: string; readonly seen_at: Date; readonly v: 1 }

const touch = async (engines: Collection<EngineDocument>, engineId: string): Promise<void> => {
  const update = { $max: { seen_at: new Date() }, $setOnInsert: { v: 1 as const } }
  await engines.updateOne({ _id: engineId }, update, { upsert: true })
}

/** Not the prompt: a gateway asks for all of its runs again and again. */
const OF_TOKEN = { _id: 0, run_id: 1, tenant_id: 1, session_id: 1, workspace_id: 1, options: 1, token_hash: 1 }

export type MongoRunsOptions = {
  readonly db: Db
  readonly tails: TailCache
  /** Awaited before every operation: resolves when the indexes are there. */
  readonly ready: () => Promise<unknown>
}

/** Runs, sessions and engines in MongoDB. */
export const createMongoRuns = ({ db, tails, ready }: MongoRunsOptions): RunStore => {
  const runs = db.collection<RunDocument>('runs')
  const engines = db.collection<EngineDocument>('engines')
  const sessions = createMongoSessions(db.collection<SessionDocument>('sessions'), runs)
  const accept = createAccept(runs, sessions, tails)
  const reach = <T>(work: () => Promise<T>): Promise<T> =>
    reachMongo(async () => {
      await ready()
      return work()
    })
  const one = (filter: object, sort: Record<string, 1 | -1> = {}) =>
    reach(async () => {
      const found = await runs.findOne(filter, { sort })
      return found === null ? undefined : toRun(found)
    })
  const many = (filter: object, sort: Record<string, 1 | -1>, limit = 0) =>
    reach(async () => (await runs.find(filter).sort(sort).limit(limit).toArray()).map(toRun))

  return {
    ...createMongoLine(runs, reach),
    accept: (run, stored) => reach(() => accept(run, stored)),
    get: (runId) => one({ _id: runId }),
    transition: (runId, { attempt, from }, patch) =>
      reach(async () => {
        // `v` never changes: an empty patch is a read that compares.
        const update = { $set: { v: 1 as const, ...patch } }
        const filter = { _id: runId, attempt, state: { $in: [...from] } }
        try {
          const after = await runs.findOneAndUpdate(filter, update, { returnDocument: 'after' })
          return after === null ? undefined : toRun(after)
        } catch (error) {
          // The only unique fields of a patch are permits: another run holds one of them.
          if (isDuplicate(error)) return undefined
          throw error
        }
      }),
    releaseLock: (runId) => reach(async () => void (await runs.updateOne({ _id: runId }, { $set: { lock: false } }))),
    activeRun: (tenant_id, session_id) => one({ tenant_id, session_id, lock: true }),
    activeRuns: (tenant_id, sessionIds) => many({ tenant_id, session_id: { $in: [...sessionIds] }, lock: true }, {}),
    latestRun: (tenant_id, session_id) => one({ tenant_id, session_id }, { run_id: -1 }),
    listRuns: (tenant_id, session_id, { limit, before }) =>
      many(
        { tenant_id, session_id, ...(before === undefined ? {} : { run_id: { $lt: before } }) },
        { run_id: -1 },
        limit,
      ),
    getSession: (tenantId, sessionId) => reach(() => sessions.get(tenantId, sessionId)),
    listSessions: (tenantId, page) => reach(() => sessions.list(tenantId, page)),
    blockers: ({ run_id, tenant_id, session_id, workspace_id }) => {
      // Whole in each branch: then each is looked up in its own index, however many runs are at work.
      const other = { container_gone: false, tenant_id, run_id: { $ne: run_id } }
      return many(
        {
          $or: [
            { ...other, session_id },
            { ...other, workspace_id },
          ],
        },
        { run_id: 1 },
      )
    },
    ofTokens: (hashes) =>
      reach(() =>
        runs
          .find({ token_hash: { $in: [...hashes] }, container_gone: false, state: { $in: ['starting', 'running'] } })
          .project<GatewayRun>(OF_TOKEN)
          .toArray(),
      ),
    unsettled: (limit) => reach(async () => (await oldestTaken<RunDocument>(runs, limit, {})).map(toRun)),
    touchEngine: (engineId) => reach(() => touch(engines, engineId)),
    engineSeen: (engineId) => reach(async () => (await engines.findOne({ _id: engineId }))?.seen_at),
    ping: () => reach(async () => void (await db.command({ ping: 1 }))),
  }
}
