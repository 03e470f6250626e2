import type { Collection } from 'mongodb'
import { type RunDocument, toRun } from './mongodb-run-table.ts'
import { ACTIVE_FIELDS, type ActiveRun, ENDED_FIELDS, type Ended, type RunLine, type Waiting } from './run-line.ts'

const QUEUED = { state: 'queued' } as const

/** Documents of one answer of {@link RunLine.line}: some 100 bytes each. */
const PIECE = 2_000

const only = (fields: readonly string[]) => ({ _id: 0, ...Object.fromEntries(fields.map((field) => [field, 1])) })

/** Two look-ups by index, because one `$or` over both may end in a scan of all finished runs. */
export const oldestTaken = async <T extends { readonly run_id: string }>(
  runs: Collection<RunDocument>,
  limit: number,
  projection: object,
): Promise<T[]> => {
  const oldest = (filter: object) => runs.find(filter).sort({ run_id: 1 }).limit(limit).project<T>(projection).toArray()
  const both = await Promise.all([
    oldest({ state: { $in: ['starting', 'running'] } }),
    oldest({ container_gone: false }),
  ])
  const byId = new Map(both.flat().map((document) => [document.run_id, document]))
  const sorted = [...byId.values()].sort((a, b) => (a.run_id < b.run_id ? -1 : 1))
  return limit === 0 ? sorted : sorted.slice(0, limit)
}

type Reach = <T>(work: () => Promise<T>) => Promise<T>

const line = async function* (runs: Collection<RunDocument>, reach: Reach): AsyncGenerator<readonly Waiting[]> {
  const order = { tenant_id: 1, turn_at: 1, run_id: 1 } as const
  const found = runs
    .find(QUEUED)
    .sort(order)
    .batchSize(PIECE)
    .project<Waiting>(only(['run_id', 'tenant_id']))
  try {
    while (await reach(() => found.hasNext())) yield found.readBufferedDocuments()
  } finally {
    await found.close()
  }
}

/** The waiting line in MongoDB; its index is `waiting`. */
export const createMongoLine = (runs: Collection<RunDocument>, reach: Reach): RunLine => ({
  waitingTenants: () => reach(() => runs.distinct('tenant_id', QUEUED)),
  firstWaiting: (tenant_id, limit) =>
    reach(async () => {
      const first = runs
        .find({ ...QUEUED, tenant_id })
        .sort({ turn_at: 1, run_id: 1 })
        .limit(limit)
      const ids = await first.project<Pick<Waiting, 'run_id'>>(only(['run_id'])).toArray()
      return ids.map(({ run_id }) => run_id)
    }),
  active: () => reach(() => oldestTaken<ActiveRun>(runs, 0, only(ACTIVE_FIELDS))),
  memoryHeld: (engine_id, unknown) =>
    reach(async () => {
      const summed = runs.aggregate<{ bytes: number }>([
        { $match: { container_gone: false, engine_id } },
        { $group: { _id: null, bytes: { $sum: { $ifNull: ['$memory_bytes', unknown] } } } },
      ])
      return (await summed.toArray())[0]?.bytes ?? 0
    }),
  countWaiting: () =>
    reach(async () => {
      const counted = runs.aggregate<{ _id: string; n: number }>([
        { $match: QUEUED },
        { $group: { _id: '$tenant_id', n: { $sum: 1 } } },
      ])
      return new Map((await counted.toArray()).map(({ _id, n }) => [_id, n]))
    }),
  line: () => line(runs, reach),
  queued: (limit) => reach(async () => (await runs.find(QUEUED).sort({ run_id: 1 }).limit(limit).toArray()).map(toRun)),
  recent: (limit) =>
    reach(() => {
      const newest = runs.find({ state: 'finished' }).sort({ run_id: -1 }).limit(limit)
      return newest.project<Ended>(only(ENDED_FIELDS)).toArray()
    }),
  byKey: (tenant_id, idempotency_key) =>
    reach(async () => {
      const found = await runs.findOne({ tenant_id, idempotency_key })
      return found === null ? undefined : toRun(found)
    }),
})
