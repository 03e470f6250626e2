import type { DatabaseSync } from 'node:sqlite'
import { setImmediate as turn } from 'node:timers/promises'
import type { Run } from '#contracts/run.ts'
import { ACTIVE_FIELDS, type ActiveRun, ENDED_FIELDS, type Ended, type RunLine, type Waiting } from './run-line.ts'
import { reachSqlite } from './sqlite-schema.ts'

/** Rows of one answer of {@link RunLine.line}: the process does nothing else meanwhile, and everything else between two. */
const PIECE = 2_000

const TURN = `json_extract(doc, '$.turn_at')`

const prepare = (db: DatabaseSync) => ({
  // SQLite has no loose index scan: each step seeks the next tenant.
  tenants: db.prepare(
    `WITH RECURSIVE t (id) AS (
       SELECT min(tenant_id) FROM runs WHERE state = 'queued'
       UNION ALL SELECT (SELECT min(tenant_id) FROM runs WHERE state = 'queued' AND tenant_id > t.id) FROM t
       WHERE t.id IS NOT NULL
     ) SELECT id FROM t WHERE id IS NOT NULL`,
  ),
  first: db.prepare(
    `SELECT run_id FROM runs WHERE state = 'queued' AND tenant_id = ? ORDER BY ${TURN}, run_id LIMIT ?`,
  ),
  active: db.prepare(
    `SELECT doc FROM runs WHERE state IN ('starting', 'running') OR container_gone = 0 ORDER BY run_id`,
  ),
  memory: db.prepare(
    `SELECT coalesce(sum(coalesce(json_extract(doc, '$.memory_bytes'), ?)), 0) AS bytes FROM runs
     WHERE container_gone = 0 AND json_extract(doc, '$.engine_id') = ?`,
  ),
  count: db.prepare(`SELECT tenant_id, count(*) AS n FROM runs WHERE state = 'queued' GROUP BY tenant_id`),
  line: db.prepare(
    `SELECT tenant_id, run_id, ${TURN} AS turn FROM runs WHERE state = 'queued'
     AND (tenant_id, ${TURN}, run_id) > (?, ?, ?) ORDER BY tenant_id, ${TURN}, run_id LIMIT ${PIECE}`,
  ),
  queued: db.prepare(`SELECT doc FROM runs WHERE state = 'queued' ORDER BY run_id LIMIT ?`),
  recent: db.prepare(`SELECT doc FROM runs WHERE state = 'finished' ORDER BY run_id DESC LIMIT ?`),
  byKey: db.prepare('SELECT doc FROM runs WHERE tenant_id = ? AND idempotency_key = ?'),
})

type Statements = ReturnType<typeof prepare>

const pick = <T extends Partial<Run>>(run: Run, fields: readonly (keyof Run)[]): T =>
  Object.fromEntries(fields.flatMap((field) => (run[field] === undefined ? [] : [[field, run[field]]]))) as T

const line = async function* (sql: Statements): AsyncGenerator<readonly Waiting[]> {
  let last = ['', '', '']
  for (;;) {
    const rows = reachSqlite(() => sql.line.all(...last))
    const end = rows.at(-1)
    if (end === undefined) return
    yield rows.map(({ tenant_id, run_id }) => ({ tenant_id: String(tenant_id), run_id: String(run_id) }))
    await turn()
    last = [String(end.tenant_id), String(end.turn), String(end.run_id)]
  }
}

/** The waiting line in SQLite; its index is `runs_waiting`. */
export const createSqliteLine = (db: DatabaseSync, toRun: (row: object | undefined) => Run | undefined): RunLine => {
  const sql = prepare(db)
  const reach = async <T>(work: () => T): Promise<T> => reachSqlite(work)
  const runs = (rows: object[]) => rows.flatMap((row) => toRun(row) ?? [])
  return {
    waitingTenants: () => reach(() => sql.tenants.all().map(({ id }) => String(id))),
    firstWaiting: (tenantId, limit) => reach(() => sql.first.all(tenantId, limit).map(({ run_id }) => String(run_id))),
    active: () => reach(() => runs(sql.active.all()).map((run) => pick<ActiveRun>(run, ACTIVE_FIELDS))),
    memoryHeld: (engineId, unknown) => reach(() => Number(sql.memory.get(unknown, engineId)?.bytes)),
    countWaiting: () => reach(() => new Map(sql.count.all().map(({ tenant_id, n }) => [String(tenant_id), Number(n)]))),
    line: () => line(sql),
    queued: (limit) => reach(() => runs(sql.queued.all(limit))),
    recent: (limit) => reach(() => runs(sql.recent.all(limit)).map((run) => pick<Ended>(run, ENDED_FIELDS))),
    byKey: (tenantId, key) => reach(() => toRun(sql.byKey.get(tenantId, key))),
  }
}
