import { mkdirSync } from 'node:fs'
import { dirname } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { MgxError } from '#contracts/errors.ts'

/** Bumped with every change of the tables; a file of a newer version is refused. */
const SCHEMA_VERSION = 1

/** How long a writer waits for another process on the same file, milliseconds. */
const BUSY_MS = 5000

const TABLES = `
CREATE TABLE events (
  _id TEXT NOT NULL PRIMARY KEY, session_id TEXT NOT NULL, seq INTEGER NOT NULL, run_id TEXT NOT NULL,
  tenant_id TEXT NOT NULL, workspace_id TEXT NOT NULL, event_type TEXT NOT NULL, timestamp INTEGER NOT NULL,
  agent_name TEXT, data TEXT NOT NULL, v INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX events_place ON events (session_id, seq);
CREATE UNIQUE INDEX events_one_finish ON events (run_id) WHERE event_type = 'finish';
CREATE INDEX events_of_run ON events (run_id, seq);
CREATE INDEX events_by_type ON events (run_id, event_type);

CREATE TABLE sessions (
  tenant_id TEXT NOT NULL, session_id TEXT NOT NULL, workspace_id TEXT NOT NULL, framework TEXT NOT NULL,
  created_at INTEGER NOT NULL, v INTEGER NOT NULL, PRIMARY KEY (tenant_id, session_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX sessions_by_age ON sessions (tenant_id, created_at, session_id);

CREATE TABLE runs (
  run_id TEXT NOT NULL PRIMARY KEY, tenant_id TEXT NOT NULL, session_id TEXT NOT NULL, workspace_id TEXT NOT NULL,
  state TEXT NOT NULL, attempt INTEGER NOT NULL, lock INTEGER NOT NULL, container_gone INTEGER NOT NULL,
  idempotency_key TEXT, doc TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX runs_lock_session ON runs (tenant_id, session_id) WHERE lock = 1;
CREATE UNIQUE INDEX runs_lock_workspace ON runs (tenant_id, workspace_id) WHERE lock = 1;
CREATE UNIQUE INDEX runs_key ON runs (tenant_id, idempotency_key) WHERE idempotency_key IS NOT NULL;
CREATE INDEX runs_of_session ON runs (tenant_id, session_id, run_id);
CREATE INDEX runs_with_container ON runs (tenant_id) WHERE container_gone = 0;

CREATE TABLE run_logs (
  run_id TEXT NOT NULL, offset INTEGER NOT NULL, data BLOB NOT NULL, PRIMARY KEY (run_id, offset)
) STRICT;
CREATE TABLE run_logs_complete (run_id TEXT NOT NULL PRIMARY KEY) STRICT, WITHOUT ROWID;
CREATE TABLE engines (engine_id TEXT NOT NULL PRIMARY KEY, seen_at INTEGER NOT NULL) STRICT, WITHOUT ROWID;
PRAGMA user_version = ${SCHEMA_VERSION};
`

/** Added since the tables' first version, to files of that version too. */
const INDEXES = `
DROP INDEX IF EXISTS runs_unsettled;
CREATE INDEX IF NOT EXISTS runs_taken ON runs (run_id) WHERE state IN ('starting', 'running') OR container_gone = 0;
CREATE INDEX IF NOT EXISTS runs_queued ON runs (run_id) WHERE state = 'queued';
CREATE INDEX IF NOT EXISTS runs_finished ON runs (run_id) WHERE state = 'finished';
CREATE INDEX IF NOT EXISTS runs_waiting ON runs (tenant_id, json_extract(doc, '$.turn_at'), run_id)
  WHERE state = 'queued';
CREATE UNIQUE INDEX IF NOT EXISTS runs_permit ON runs (json_extract(doc, '$.permit'))
  WHERE json_extract(doc, '$.permit') IS NOT NULL;
CREATE INDEX IF NOT EXISTS runs_token ON runs (json_extract(doc, '$.token_hash')) WHERE container_gone = 0;
CREATE UNIQUE INDEX IF NOT EXISTS runs_tenant_permit ON runs (tenant_id, json_extract(doc, '$.tenant_permit'))
  WHERE json_extract(doc, '$.tenant_permit') IS NOT NULL;
`

/** Runs `work` alone among all writers of the file, and all or nothing. */
export const transaction = <T>(db: DatabaseSync, work: () => T): T => {
  db.exec('BEGIN IMMEDIATE')
  try {
    const result = work()
    db.exec('COMMIT')
    return result
  } catch (error) {
    if (db.isTransaction) db.exec('ROLLBACK')
    throw error
  }
}

// https://www.sqlite.org/rescode.html: busy, locked, read-only, I/O, corrupt, full, cannot open.
const OUT_OF_REACH = new Set([5, 6, 8, 10, 11, 13, 14])

/** Calls `work`; where the file cannot be used the error says so as `UNAVAILABLE`. */
export const reachSqlite = <T>(work: () => T): T => {
  try {
    return work()
  } catch (error) {
    const { errcode, message } = error as { errcode?: number; message: string }
    if (errcode === undefined || !OUT_OF_REACH.has(errcode & 0xff)) throw error
    throw new MgxError('UNAVAILABLE', 'The database file cannot be used.', message)
  }
}

// SQLITE_CONSTRAINT_UNIQUE.
const NOT_UNIQUE = 2067

/** True where a unique index refused a row. */
export const isUnique = (error: unknown): boolean => (error as { errcode?: number }).errcode === NOT_UNIQUE

const createTables = (db: DatabaseSync, file: string): void => {
  const version = () => Number(db.prepare('PRAGMA user_version').get()?.user_version)
  if (version() === 0) {
    transaction(db, () => {
      // Another process may have been quicker.
      if (version() === 0) db.exec(TABLES)
    })
  }
  if (version() === SCHEMA_VERSION) {
    db.exec(INDEXES)
    return
  }
  throw new Error(
    `${file} has tables of version ${version()}, this mgx knows ${SCHEMA_VERSION}: use the mgx that made it, or another file`,
  )
}

/** Opens the file, making it and its tables where they are missing. */
export const openDatabase = (file: string): DatabaseSync => {
  if (file !== ':memory:') mkdirSync(dirname(file), { recursive: true })
  const db = new DatabaseSync(file, { timeout: BUSY_MS })
  try {
    // NORMAL: whatever dies but the machine's power, what was committed stays; nothing waits for the disk meanwhile.
    db.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL')
    createTables(db, file)
    return db
  } catch (error) {
    db.close()
    throw error
  }
}
