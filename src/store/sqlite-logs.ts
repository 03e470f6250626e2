import type { DatabaseSync, SQLOutputValue } from 'node:sqlite'
import { type Chunk, cutChunks, droppedRange, sliceOf } from './run-log-chunks.ts'
import type { LogSlice, RunLogs } from './run-logs.ts'
import { reachSqlite, transaction } from './sqlite-schema.ts'

const toChunk = (row: Record<string, SQLOutputValue>): Chunk => ({
  offset: Number(row.offset),
  data: row.data as Uint8Array,
})

const prepare = (db: DatabaseSync) => ({
  last: db.prepare('SELECT offset, length(data) AS bytes FROM run_logs WHERE run_id = ? ORDER BY offset DESC LIMIT 1'),
  insert: db.prepare('INSERT INTO run_logs (run_id, offset, data) VALUES (?, ?, ?)'),
  drop: db.prepare('DELETE FROM run_logs WHERE run_id = ? AND offset >= ? AND offset < ?'),
  at: db.prepare('SELECT offset, data FROM run_logs WHERE run_id = ? AND offset <= ? ORDER BY offset DESC LIMIT 1'),
  behind: db.prepare('SELECT offset, data FROM run_logs WHERE run_id = ? AND offset > ? ORDER BY offset LIMIT 1'),
  complete: db.prepare('INSERT OR IGNORE INTO run_logs_complete (run_id) VALUES (?)'),
  isComplete: db.prepare('SELECT 1 FROM run_logs_complete WHERE run_id = ?'),
})

/** Container output in SQLite. The size is where the last piece ends: nothing else could disagree with the pieces. */
export const createSqliteLogs = (db: DatabaseSync): RunLogs => {
  const sql = prepare(db)
  const sizeOf = (runId: string): number => {
    const last = sql.last.get(runId)
    return last === undefined ? 0 : Number(last.offset) + Number(last.bytes)
  }
  const append = (runId: string, offset: number, data: Uint8Array): void => {
    for (const chunk of cutChunks(offset, data, sizeOf(runId))) sql.insert.run(runId, chunk.offset, chunk.data)
    const { from, before } = droppedRange(sizeOf(runId))
    if (from < before) sql.drop.run(runId, from, before)
  }
  const read = (runId: string, offset: number, limit: number): LogSlice | undefined => {
    const at = sql.at.get(runId, offset)
    const here = at && sliceOf(toChunk(at), offset, limit)
    if (here !== undefined) return here
    const next = sql.behind.get(runId, offset)
    return next && sliceOf(toChunk(next), offset, limit)
  }
  return {
    append: async (runId, offset, data) => reachSqlite(() => transaction(db, () => append(runId, offset, data))),
    read: async (runId, offset, limit) => reachSqlite(() => read(runId, offset, limit)),
    complete: async (runId) => void reachSqlite(() => sql.complete.run(runId)),
    stat: async (runId) =>
      reachSqlite(() => ({ size: sizeOf(runId), complete: sql.isComplete.get(runId) !== undefined })),
  }
}
