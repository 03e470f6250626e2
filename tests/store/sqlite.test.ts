import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { test } from 'node:test'
import { openSqliteStore } from '#store/sqlite.ts'
import { eventLogSuite } from '../conformance/event-log.ts'
import { runLogsSuite } from '../conformance/run-logs.ts'
import { runStoreSuite } from '../conformance/run-store.ts'
import { delta, newRef, type StoreWorld } from '../conformance/store-world.ts'
import { tempDir } from '../helpers.ts'

/** A file of its own; `raw` is a second connection to it, past the adapter. */
const openWorld = async (): Promise<StoreWorld> => {
  const dir = await mkdtemp(join(tmpdir(), 'mgx-sqlite-'))
  const file = join(dir, 'nested', 'mgx.db')
  const first = await openSqliteStore({ file })
  const raw = new DatabaseSync(file, { timeout: 5000 })
  const insert = (table: string, row: Record<string, string | number | null>) => {
    const names = Object.keys(row)
    raw
      .prepare(`INSERT INTO ${table} (${names.join()}) VALUES (${names.map(() => '?').join()})`)
      .run(...Object.values(row))
  }
  return {
    connect: () => openSqliteStore({ file }),
    rawEvent: async ({ agent_name: _, ...event }) =>
      insert('events', { ...event, timestamp: event.timestamp.getTime(), data: JSON.stringify(event.data) }),
    rawRun: async (run) => {
      const { run_id, tenant_id, session_id, workspace_id, state, attempt } = run
      const flags = { lock: Number(run.lock), container_gone: Number(run.container_gone) }
      insert('runs', {
        run_id,
        tenant_id,
        session_id,
        workspace_id,
        state,
        attempt,
        ...flags,
        doc: JSON.stringify(run),
      })
    },
    async [Symbol.asyncDispose]() {
      raw.close()
      await first[Symbol.asyncDispose]()
      await rm(dir, { recursive: true, force: true })
    },
  }
}

eventLogSuite('sqlite', openWorld)
runStoreSuite('sqlite', openWorld)
runLogsSuite('sqlite', openWorld)

test('sqlite: everything is there after the process was gone', async (t) => {
  const file = join(await tempDir(t), 'mgx.db')
  const ref = newRef()
  {
    await using store = await openSqliteStore({ file })
    await store.events.append(ref.session_id, [delta(ref, 0)])
  }
  await using store = await openSqliteStore({ file })
  assert.equal(await store.events.tail(ref.session_id), 1)
})

test('sqlite: a file of a newer mgx is refused, and says so', async (t) => {
  const file = join(await tempDir(t), 'mgx.db')
  const db = new DatabaseSync(file)
  db.exec('PRAGMA user_version = 99')
  db.close()
  await assert.rejects(openSqliteStore({ file }), /version 99.*use the mgx that made it, or another file/)
})

test('sqlite: a closed store rejects, and closing twice is fine', async () => {
  const store = await openSqliteStore({ file: ':memory:' })
  await store.runs.ping()
  await store[Symbol.asyncDispose]()
  await store[Symbol.asyncDispose]()
  await assert.rejects(store.runs.ping())
  await assert.rejects(store.events.tail('s'))
})
