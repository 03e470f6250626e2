import { DatabaseSync } from 'node:sqlite'
import { MongoClient } from 'mongodb'
import { DEFAULT_TENANT } from '#contracts/ids.ts'

/**
 * Fills databases with what a long life leaves in them, by the shortest way (the databases make it themselves), in
 * exactly the form that the stores write. The indexes are made by the stores.
 */

/** Events of one run; a session of a million events is ten thousand runs. */
export const RUN_EVENTS = 100

export const runIdOf = (session: string, n: number): string => `${session}-run-${String(n).padStart(7, '0')}`

/** Number of the session that is the n-th oldest. */
export const sessionIdOf = (n: number): string => `s-${String(n).padStart(7, '0')}`

const FIRST_DAY = Date.UTC(2026, 0, 1)

const AGGREGATE = { allowDiskUse: true }

/** Two nested ranges: one alone would be a document too large. */
const numbered = (size: number): object[] => {
  const inner = Math.min(size, 1_000)
  return [
    { $documents: [{ a: { $range: [0, Math.ceil(size / inner)] } }] },
    { $unwind: '$a' },
    { $set: { b: { $range: [0, inner] } } },
    { $unwind: '$b' },
    { $set: { n: { $add: [{ $multiply: ['$a', inner] }, '$b'] } } },
  ]
}

const digits = (value: object): object => ({
  $substrBytes: [{ $toString: { $toLong: { $add: [10_000_000, value] } } }, 1, 7],
})

/** Sessions of `log`s events, named `<name>-<size>`. */
export const seedMongoEvents = async (url: string, name: string, sizes: readonly number[]): Promise<void> => {
  await using client = await new MongoClient(url).connect()
  const db = client.db(name)
  for (const size of sizes) {
    const session = `log-${size}`
    const run = { $concat: [`${session}-run-`, digits({ $floor: { $divide: ['$n', RUN_EVENTS] } })] }
    const event = {
      _id: { $concat: [run, ':r:', { $toString: { $mod: ['$n', RUN_EVENTS] } }] },
      tenant_id: DEFAULT_TENANT,
      session_id: session,
      run_id: run,
      seq: { $toInt: { $add: ['$n', 1] } },
      event_type: 'log',
      timestamp: { $add: [new Date(FIRST_DAY), '$n'] },
      workspace_id: session,
      data: { level: 'info', message: { $concat: ['something was said, and it was number ', { $toString: '$n' }] } },
      v: { $toInt: 1 },
    }
    const stages = [...numbered(size), { $replaceWith: event }, { $merge: { into: 'events' } }]
    await db.aggregate(stages, AGGREGATE).toArray()
  }
}

/** Finished runs, one for each session, `size` of them. */
export const seedMongoSessions = async (url: string, name: string, size: number): Promise<void> => {
  await using client = await new MongoClient(url).connect()
  const db = client.db(name)
  const id = { $concat: ['s-', digits({ $toInt: '$n' })] }
  const created_at = { $add: [new Date(FIRST_DAY), { $multiply: ['$n', 1_000] }] }
  const light = {
    tenant_id: DEFAULT_TENANT,
    session_id: id,
    workspace_id: id,
    framework: 'static',
    created_at,
    v: { $toInt: 1 },
  }
  const session = { _id: { $concat: [`${DEFAULT_TENANT}/`, id] }, ...light }
  const run_id = { $concat: [id, '-run-0000000'] }
  const state = {
    state: 'finished',
    attempt: { $toInt: 1 },
    lock: false,
    container_gone: true,
    restarts: { $toInt: 0 },
  }
  const texts = {
    prompt: 'bench',
    options: { $literal: {} },
    queue_deadline_at: created_at,
    turn_at: created_at,
    opens_session: true,
  }
  const run = { _id: run_id, run_id, ...light, ...state, ...texts }
  await db
    .aggregate([...numbered(size), { $replaceWith: session }, { $merge: { into: 'sessions' } }], AGGREGATE)
    .toArray()
  await db.aggregate([...numbered(size), { $replaceWith: run }, { $merge: { into: 'runs' } }], AGGREGATE).toArray()
}

const NUMBERS = 'WITH RECURSIVE numbers (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n + 1 < ?)'

export const seedSqliteEvents = (file: string, sizes: readonly number[]): void => {
  const db = new DatabaseSync(file)
  for (const size of sizes) {
    const session = `log-${size}`
    const run = `printf('${session}-run-%07d', n / ${RUN_EVENTS})`
    db.prepare(
      `${NUMBERS} INSERT INTO events (_id, tenant_id, session_id, run_id, seq, event_type, timestamp, workspace_id, data, v)
       SELECT ${run} || ':r:' || (n % ${RUN_EVENTS}), '${DEFAULT_TENANT}', '${session}', ${run}, n + 1, 'log', ${FIRST_DAY} + n,
       '${session}', json_object('level', 'info', 'message', 'something was said, and it was number ' || n), 1 FROM numbers`,
    ).run(size)
  }
  db.close()
}

export const seedSqliteSessions = (file: string, size: number): void => {
  const db = new DatabaseSync(file)
  const id = "printf('s-%07d', n)"
  const run = `${id} || '-run-0000000'`
  const time = `strftime('%Y-%m-%dT%H:%M:%fZ', ${FIRST_DAY / 1000} + n, 'unixepoch')`
  db.prepare(
    `${NUMBERS} INSERT INTO sessions (tenant_id, session_id, workspace_id, framework, created_at, v)
     SELECT '${DEFAULT_TENANT}', ${id}, ${id}, 'static', ${FIRST_DAY} + n * 1000, 1 FROM numbers`,
  ).run(size)
  db.prepare(
    `${NUMBERS} INSERT INTO runs (run_id, tenant_id, session_id, workspace_id, state, attempt, lock, container_gone, doc)
     SELECT ${run}, '${DEFAULT_TENANT}', ${id}, ${id}, 'finished', 1, 0, 1, json_object('run_id', ${run}, 'tenant_id', '${DEFAULT_TENANT}',
     'session_id', ${id}, 'workspace_id', ${id}, 'framework', 'static', 'prompt', 'bench', 'options', json('{}'), 'v', 1,
     'state', 'finished', 'attempt', 1, 'lock', json('false'), 'container_gone', json('true'), 'restarts', 0,
     'created_at', ${time}, 'queue_deadline_at', ${time}, 'turn_at', ${time}) FROM numbers`,
  ).run(size)
  db.close()
}
