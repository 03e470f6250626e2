import type { DatabaseSync, SQLOutputValue } from 'node:sqlite'
import type { NewEvent, SessionEvent } from '#contracts/events.ts'
import { checkEvents, EMPTY_LOG, type LogState, planAppend } from './append-plan.ts'
import type { AppendOptions, AppendResult, EventLog } from './event-log.ts'
import { MARK_TYPES, marksOf } from './marks.ts'
import { reachSqlite, transaction } from './sqlite-schema.ts'
import type { WakeUps } from './wake-ups.ts'

type Row = Record<string, SQLOutputValue>

const COLUMNS = '_id, tenant_id, session_id, run_id, seq, event_type, timestamp, workspace_id, agent_name, data, v'

const toEvent = (row: Row): SessionEvent =>
  ({
    _id: row._id,
    tenant_id: row.tenant_id,
    session_id: row.session_id,
    run_id: row.run_id,
    seq: row.seq,
    event_type: row.event_type,
    timestamp: new Date(Number(row.timestamp)),
    workspace_id: row.workspace_id,
    ...(row.agent_name === null ? {} : { agent_name: row.agent_name }),
    data: JSON.parse(String(row.data)),
    v: row.v,
  }) as unknown as SessionEvent

const toRow = (event: SessionEvent): Row => ({
  ...event,
  timestamp: event.timestamp.getTime(),
  agent_name: event.agent_name ?? null,
  data: JSON.stringify(event.data),
})

const prepare = (db: DatabaseSync) => {
  const types = MARK_TYPES.map((type) => `'${type}'`).join(', ')
  return {
    last: db.prepare('SELECT seq, timestamp FROM events WHERE session_id = ? ORDER BY seq DESC LIMIT 1'),
    place: db.prepare('SELECT seq FROM events WHERE _id = ?'),
    finish: db.prepare(`SELECT ${COLUMNS} FROM events WHERE run_id = ? AND event_type = 'finish'`),
    ending: db.prepare(
      `SELECT 1 FROM events WHERE run_id = ? AND (event_type = 'cancel_requested'
       OR (event_type = 'run_state' AND data ->> '$.state' = 'stopping')) LIMIT 1`,
    ),
    marks: db.prepare(`SELECT ${COLUMNS} FROM events WHERE run_id = ? AND event_type IN (${types}) ORDER BY seq`),
    finished: db.prepare(
      `SELECT run_id FROM events WHERE event_type = 'finish' AND run_id IN (SELECT value FROM json_each(?))`,
    ),
    insert: db.prepare(
      `INSERT INTO events (${COLUMNS}) VALUES (:_id, :tenant_id, :session_id, :run_id, :seq, :event_type, :timestamp,
       :workspace_id, :agent_name, :data, :v)`,
    ),
    behind: db.prepare('SELECT 1 FROM events WHERE session_id = ? AND seq > ? LIMIT 1'),
    list: db.prepare(`SELECT ${COLUMNS} FROM events WHERE session_id = ? AND seq > ? ORDER BY seq LIMIT ?`),
    listRun: db.prepare(
      `SELECT ${COLUMNS} FROM events WHERE session_id = ? AND seq > ? AND run_id = ? ORDER BY seq LIMIT ?`,
    ),
  }
}

type Statements = ReturnType<typeof prepare>

const readState = (sql: Statements, sessionId: string, runId: string): LogState => {
  const last = sql.last.get(sessionId)
  if (last === undefined) return EMPTY_LOG
  const finish = sql.finish.get(runId)
  return {
    seq: Number(last.seq),
    time: Number(last.timestamp),
    finish: finish === undefined ? undefined : toEvent(finish),
    ending: sql.ending.get(runId) !== undefined,
  }
}

const readPlaces = (sql: Statements, events: readonly NewEvent[]): Map<string, number> => {
  const places = new Map<string, number>()
  for (const { _id } of events) {
    const row = sql.place.get(_id)
    if (row !== undefined) places.set(_id, Number(row.seq))
  }
  return places
}

/** The event log in SQLite. A transaction sees the whole log, so the compare-and-set on the tail never has to be repeated. */
export const createSqliteEvents = (db: DatabaseSync, wakeUps: WakeUps): EventLog => {
  const sql = prepare(db)
  const append = (sessionId: string, events: readonly NewEvent[], options?: AppendOptions): AppendResult => {
    checkEvents(sessionId, events)
    const rows: Row[] = []
    const result = transaction(db, () => {
      const state = readState(sql, sessionId, events[0]?.run_id ?? '')
      const plan = planAppend(state, readPlaces(sql, events), events, options)
      for (const event of plan.events) {
        const row = toRow(event)
        sql.insert.run(row)
        rows.push(row)
      }
      return plan.result
    })
    // From the row, not from what the caller gave: live and replay are the same bytes.
    if (wakeUps.wanted(sessionId)) for (const row of rows) wakeUps.publish(toEvent(row))
    return result
  }
  return {
    append: async (sessionId, events, options) => reachSqlite(() => append(sessionId, events, options)),
    list: async (sessionId, { after, limit, runId }) =>
      reachSqlite(() => {
        const rows =
          runId === undefined ? sql.list.all(sessionId, after, limit) : sql.listRun.all(sessionId, after, runId, limit)
        return rows.map(toEvent)
      }),
    marks: async (_sessionId, runId) => reachSqlite(() => marksOf(sql.marks.all(runId).map(toEvent))),
    finished: async (runIds) =>
      reachSqlite(() => new Set(sql.finished.all(JSON.stringify(runIds)).map(({ run_id }) => String(run_id)))),
    tail: async (sessionId) => reachSqlite(() => Number(sql.last.get(sessionId)?.seq ?? 0)),
    grown: async (places) =>
      reachSqlite(() => [...places].filter((place) => sql.behind.get(...place) !== undefined).map(([id]) => id)),
    changes: (sessionId, signal) => wakeUps.subscribe(sessionId, signal),
  }
}
