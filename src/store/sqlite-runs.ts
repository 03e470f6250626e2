import type { DatabaseSync, SQLOutputValue } from 'node:sqlite'
import type { NewRun, Run, Session } from '#contracts/run.ts'
import { type InTheWay, keyExpired, newRun, refusal, sessionOf } from './accept-rules.ts'
import type { AcceptResult, Expect, RunPatch, RunStore } from './run-store.ts'
import { createSqliteLine } from './sqlite-line.ts'
import { isUnique, reachSqlite, transaction } from './sqlite-schema.ts'

type Row = Record<string, SQLOutputValue>

const DATES = new Set([
  'created_at',
  'queue_deadline_at',
  'turn_at',
  'started_at',
  'deadline_at',
  'finished_at',
  'seen_at',
  'quarantine_until',
])

const toRun = (row: { readonly doc?: unknown } | undefined): Run | undefined => {
  if (row === undefined) return undefined
  const doc = JSON.parse(String(row.doc)) as Record<string, unknown>
  for (const name of DATES) if (name in doc) doc[name] = new Date(String(doc[name]))
  return doc as unknown as Run
}

const toRuns = (rows: Row[]): Run[] => rows.flatMap((row) => toRun(row) ?? [])

/** The whole document, and beside it the fields that indexes need. */
const toRow = (run: Run): Row => ({
  run_id: run.run_id,
  tenant_id: run.tenant_id,
  session_id: run.session_id,
  workspace_id: run.workspace_id,
  state: run.state,
  attempt: run.attempt,
  lock: Number(run.lock),
  container_gone: Number(run.container_gone),
  idempotency_key: run.idempotency_key ?? null,
  doc: JSON.stringify(run),
})

const toSession = (row: Row | undefined): Session | undefined =>
  row && ({ ...row, created_at: new Date(Number(row.created_at)) } as unknown as Session)

/** Sorts behind every id, so that a first page needs no statement of its own. */
const LAST = '\u{10ffff}'

const prepare = (db: DatabaseSync) => {
  const runs = (rest: string) => db.prepare(`SELECT doc FROM runs WHERE ${rest}`)
  return {
    get: runs('run_id = ?'),
    byKey: runs('tenant_id = ? AND idempotency_key = ?'),
    bySession: runs('tenant_id = ? AND session_id = ? AND lock = 1'),
    bySessions: runs('tenant_id = ? AND lock = 1 AND session_id IN (SELECT value FROM json_each(?))'),
    byWorkspace: runs('tenant_id = ? AND workspace_id = ? AND lock = 1'),
    list: runs('tenant_id = ? AND session_id = ? AND run_id < ? ORDER BY run_id DESC LIMIT ?'),
    blockers: runs(
      `container_gone = 0 AND tenant_id = :tenant_id AND run_id <> :run_id
       AND (session_id = :session_id OR workspace_id = :workspace_id) ORDER BY run_id`,
    ),
    ofTokens: runs(
      `container_gone = 0 AND state IN ('starting', 'running')
       AND json_extract(doc, '$.token_hash') IN (SELECT value FROM json_each(?))`,
    ),
    unsettled: runs(`(state IN ('starting', 'running') OR container_gone = 0) ORDER BY run_id LIMIT ?`),
    insert: db.prepare(
      `INSERT INTO runs VALUES (:run_id, :tenant_id, :session_id, :workspace_id, :state, :attempt, :lock,
       :container_gone, :idempotency_key, :doc)`,
    ),
    update: db.prepare(
      `UPDATE runs SET state = :state, attempt = :attempt, lock = :lock, container_gone = :container_gone,
       idempotency_key = :idempotency_key, doc = :doc WHERE run_id = :run_id AND tenant_id = :tenant_id
       AND session_id = :session_id AND workspace_id = :workspace_id`,
    ),
    session: db.prepare('SELECT * FROM sessions WHERE tenant_id = ? AND session_id = ?'),
    sessions: db.prepare(
      `SELECT * FROM sessions WHERE tenant_id = ? AND (created_at, session_id) < (?, ?)
       ORDER BY created_at DESC, session_id DESC LIMIT ?`,
    ),
    addSession: db.prepare(
      `INSERT INTO sessions (tenant_id, session_id, workspace_id, framework, created_at, v)
       VALUES (:tenant_id, :session_id, :workspace_id, :framework, :created_at, :v)`,
    ),
    touch: db.prepare(
      `INSERT INTO engines VALUES (?, ?) ON CONFLICT (engine_id) DO UPDATE SET seen_at = max(seen_at, excluded.seen_at)`,
    ),
    seen: db.prepare('SELECT seen_at FROM engines WHERE engine_id = ?'),
  }
}

type Statements = ReturnType<typeof prepare>

/** The holder of the key; one whose time is over loses it here. */
const holderOfKey = (sql: Statements, run: NewRun): Run | undefined => {
  if (run.idempotency_key === undefined) return undefined
  const holder = toRun(sql.byKey.get(run.tenant_id, run.idempotency_key))
  if (holder === undefined || !keyExpired(run, holder)) return holder
  const { idempotency_key: _key, ...rest } = holder
  sql.update.run(toRow(rest))
  return undefined
}

const accept = (sql: Statements, run: NewRun): AcceptResult => {
  const session = toSession(sql.session.get(run.tenant_id, run.session_id))
  const found: InTheWay = {
    same: toRun(sql.get.get(run.run_id)),
    byKey: holderOfKey(sql, run),
    session,
    sessionHolder: toRun(sql.bySession.get(run.tenant_id, run.session_id)),
    workspaceHolder: toRun(sql.byWorkspace.get(run.tenant_id, run.workspace_id)),
  }
  const refused = refusal(run, found)
  if (refused !== undefined) return refused
  const row = toRow(newRun(run))
  sql.insert.run(row)
  if (session === undefined) sql.addSession.run({ ...sessionOf(run), created_at: run.created_at.getTime() })
  return { outcome: 'accepted', run: toRun(row) as Run, newSession: session === undefined }
}

const change = (
  sql: Statements,
  runId: string,
  expect: Partial<Expect> | undefined,
  patch: RunPatch,
): Run | undefined => {
  const run = toRun(sql.get.get(runId))
  if (run === undefined) return undefined
  if (expect !== undefined && (run.attempt !== expect.attempt || !expect.from?.includes(run.state))) return undefined
  const row = toRow({ ...run, ...patch })
  try {
    sql.update.run(row)
  } catch (error) {
    // The only unique fields of a patch are permits: another run holds one of them.
    if (isUnique(error)) return undefined
    throw error
  }
  return toRun(row)
}

const listSessions = (sql: Statements, tenantId: string, limit: number, before: string | undefined): Session[] => {
  const from = before === undefined ? undefined : sql.session.get(tenantId, before)
  if (before !== undefined && from === undefined) return []
  const time = from === undefined ? Number.MAX_SAFE_INTEGER : Number(from.created_at)
  return sql.sessions.all(tenantId, time, before ?? LAST, limit).flatMap((row) => toSession(row) ?? [])
}

/** Runs and sessions in SQLite. */
export const createSqliteRuns = (db: DatabaseSync): RunStore => {
  const sql = prepare(db)
  const reach = async <T>(work: () => T): Promise<T> => reachSqlite(work)
  const alone = <T>(work: () => T): Promise<T> => reach(() => transaction(db, work))
  return {
    ...createSqliteLine(db, toRun),
    accept: (run) => alone(() => accept(sql, run)),
    get: (runId) => reach(() => toRun(sql.get.get(runId))),
    transition: (runId, expect, patch) => alone(() => change(sql, runId, expect, patch)),
    releaseLock: async (runId) => void (await alone(() => change(sql, runId, undefined, { lock: false }))),
    activeRun: (tenantId, sessionId) => reach(() => toRun(sql.bySession.get(tenantId, sessionId))),
    activeRuns: (tenantId, sessionIds) => reach(() => toRuns(sql.bySessions.all(tenantId, JSON.stringify(sessionIds)))),
    latestRun: (tenantId, sessionId) => reach(() => toRun(sql.list.get(tenantId, sessionId, LAST, 1))),
    listRuns: (tenantId, sessionId, { limit, before }) =>
      reach(() => toRuns(sql.list.all(tenantId, sessionId, before ?? LAST, limit))),
    getSession: (tenantId, sessionId) => reach(() => toSession(sql.session.get(tenantId, sessionId))),
    listSessions: (tenantId, { limit, before }) => reach(() => listSessions(sql, tenantId, limit, before)),
    blockers: ({ run_id, tenant_id, session_id, workspace_id }) =>
      reach(() => toRuns(sql.blockers.all({ run_id, tenant_id, session_id, workspace_id }))),
    ofTokens: (hashes) => reach(() => toRuns(sql.ofTokens.all(JSON.stringify(hashes)))),
    unsettled: (limit) => reach(() => toRuns(sql.unsettled.all(limit))),
    touchEngine: async (engineId) => void (await reach(() => sql.touch.run(engineId, Date.now()))),
    engineSeen: (engineId) =>
      reach(() => {
        const row = sql.seen.get(engineId)
        return row && new Date(Number(row.seen_at))
      }),
    ping: async () => void (await reach(() => db.prepare('SELECT 1 FROM runs LIMIT 1').get())),
  }
}
