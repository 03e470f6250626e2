import { Binary, type Collection, type Db } from 'mongodb'
import { createLru } from './lru.ts'
import { duplicatesOf, reachMongo } from './mongodb-client.ts'
import { type Chunk, cutChunks, droppedRange, sliceOf } from './run-log-chunks.ts'
import type { RunLogs } from './run-logs.ts'

/** A piece of the output; the one at {@link COMPLETE} says that no more will come. */
type LogDocument = {
  readonly run_id: string
  readonly offset: number
  readonly end: number
  readonly data?: Binary
  readonly v: 1
}

const COMPLETE = -1

/** Runs whose size is kept in memory. An old one costs a clash and a look. */
const MAX_SIZES = 1000

const toChunk = ({ offset, data }: LogDocument): Chunk => ({ offset, data: data?.value() ?? new Uint8Array() })

const sizeOf = async (logs: Collection<LogDocument>, runId: string): Promise<number> => {
  const projection = { _id: 0, end: 1 }
  const last = await logs.findOne({ run_id: runId, offset: { $gte: 0 } }, { sort: { offset: -1 }, projection })
  return last?.end ?? 0
}

/** @returns false when another writer has written a piece at one of these places */
const insertChunks = async (
  logs: Collection<LogDocument>,
  runId: string,
  chunks: readonly Chunk[],
): Promise<boolean> => {
  const documents = chunks.map(({ offset, data }) => ({
    run_id: runId,
    offset,
    end: offset + data.byteLength,
    data: new Binary(data),
    v: 1 as const,
  }))
  try {
    await logs.insertMany(documents, { ordered: true })
    return true
  } catch (error) {
    if (duplicatesOf(error) === undefined) throw error
    return false
  }
}

/** Drops what lies between head and tail, where the output has grown over the border of a piece since `before`. */
const dropMiddle = async (logs: Collection<LogDocument>, runId: string, before: number, size: number) => {
  const range = droppedRange(size)
  if (range.before <= range.from || droppedRange(before).before === range.before) return
  await logs.deleteMany({ run_id: runId, offset: { $gte: range.from, $lt: range.before } })
}

/** Container output in MongoDB. The size is where the last piece ends; a piece begins where the one before ended. */
export const createMongoLogs = (db: Db, ready: () => Promise<unknown>): RunLogs => {
  const logs = db.collection<LogDocument>('run_logs')
  const sizes = createLru<string, number>(MAX_SIZES)
  const reach = <T>(work: () => Promise<T>): Promise<T> =>
    reachMongo(async () => {
      await ready()
      return work()
    })
  const append = async (runId: string, offset: number, data: Uint8Array): Promise<void> => {
    for (;;) {
      const before = sizes.get(runId) ?? (await sizeOf(logs, runId))
      sizes.delete(runId)
      const chunks = cutChunks(offset, data, before)
      const size = offset + data.byteLength
      if (chunks.length === 0) return void sizes.set(runId, before)
      if (await insertChunks(logs, runId, chunks)) {
        await dropMiddle(logs, runId, before, size)
        sizes.set(runId, size)
        return
      }
    }
  }
  return {
    append: (runId, offset, data) => reach(() => append(runId, offset, data)),
    read: (runId, offset, limit) =>
      reach(async () => {
        const at = { run_id: runId, offset: { $gte: 0, $lte: offset } }
        const here = await logs.findOne(at, { sort: { offset: -1 } })
        const slice = here && sliceOf(toChunk(here), offset, limit)
        if (slice) return slice
        const next = await logs.findOne({ run_id: runId, offset: { $gt: offset } }, { sort: { offset: 1 } })
        return next === null ? undefined : sliceOf(toChunk(next), offset, limit)
      }),
    complete: (runId) =>
      reach(async () => {
        const place = { run_id: runId, offset: COMPLETE }
        await logs.updateOne(place, { $setOnInsert: { end: 0, v: 1 as const } }, { upsert: true })
      }),
    stat: (runId) =>
      reach(async () => {
        const complete = await logs.findOne({ run_id: runId, offset: COMPLETE })
        return { size: await sizeOf(logs, runId), complete: complete !== null }
      }),
  }
}
