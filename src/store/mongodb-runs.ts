import type { Collection, Db } from 'mongodb'
import type { Run } from '#contracts/run.ts'
import { createAccept } from './mongodb-accept.ts'
import { reachMongo } from './mongodb-client.ts'
import { type RunDocument, type SessionDocument, toRun } from './mongodb-run-table.ts'
import { createMongoSessions } from './mongodb-sessions.ts'
import type { RunStore } from './run-store.ts'
import type { TailCache } from './tail-cache.ts'

type EngineDocument = { readonly _id: string; readonly seen_at: Date; readonly v: 1 }

const OPEN_STATES = ['queued', 'starting', 'running'] as const

/** Two look-ups by index, because one `$or` over both may end in a scan of all finished runs. */
const unsettled = async (runs: Collection<RunDocument>, limit: number): Promise<Run[]> => {
  const oldest = (filter: object) => runs.find(filter).sort({ run_id: 1 }).limit(limit).toArray()
  const both = await Promise.all([oldest({ state: { $in: OPEN_STATES } }), oldest({ container_gone: false })])
  const byId = new Map(both.flat().map((document) => [document._id, document]))
  const sorted = [...byId.values()].sort((a, b) => (a._id < b._id ? -1 : 1))
  return sorted.slice(0, limit).map(toRun)
}

const touch = async (engines: Collection<EngineDocument>, engineId: string): Promise<void> => {
  const update = { $max: { seen_at: new Date() }, $setOnInsert: { v: 1 as const } }
  await engines.updateOne({ _id: engineId }, update, { upsert: true })
}

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
    accept: (run) => reach(() => accept(run)),
    get: (runId) => one({ _id: runId }),
    transition: (runId, { attempt, from }, patch) =>
      reach(async () => {
        // `v` never changes: an empty patch is a read that compares.
        const update = { $set: { v: 1 as const, ...patch } }
        const filter = { _id: runId, attempt, state: { $in: [...from] } }
        const after = await runs.findOneAndUpdate(filter, update, { returnDocument: 'after' })
        return after === null ? undefined : toRun(after)
      }),
    releaseLock: (runId) => reach(async () => void (await runs.updateOne({ _id: runId }, { $set: { lock: false } }))),
    activeRun: (tenant_id, session_id) => one({ tenant_id, session_id, lock: true }),
    latestRun: (tenant_id, session_id) => one({ tenant_id, session_id }, { run_id: -1 }),
    listRuns: (tenant_id, session_id, { limit, before }) =>
      many(
        { tenant_id, session_id, ...(before === undefined ? {} : { run_id: { $lt: before } }) },
        { run_id: -1 },
        limit,
      ),
    getSession: (tenantId, sessionId) => reach(() => sessions.get(tenantId, sessionId)),
    listSessions: (tenantId, page) => reach(() => sessions.list(tenantId, page)),
    blockers: ({ run_id, tenant_id, session_id, workspace_id }) =>
      many(
        { container_gone: false, tenant_id, run_id: { $ne: run_id }, $or: [{ session_id }, { workspace_id }] },
        { run_id: 1 },
      ),
    unsettled: (limit) => reach(() => unsettled(runs, limit)),
    touchEngine: (engineId) => reach(() => touch(engines, engineId)),
    engineSeen: (engineId) => reach(async () => (await engines.findOne({ _id: engineId }))?.seen_at),
    ping: () => reach(async () => void (await db.command({ ping: 1 }))),
  }
}
