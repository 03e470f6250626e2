import assert from 'node:assert/strict'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { test } from 'node:test'
import { openSqliteStore } from '#store/sqlite.ts'
import { eventLogSuite } from '../conformance/event-log.ts'
import { runLogsSuite } from '../conformance/run-logs.ts'
import { runStoreSuite } from '../conformance/run-store.ts'
import { delta, newRef } from '../conformance/store-world.ts'
import { tempDir } from '../helpers.ts'
import { openSqliteWorld } from './sqlite-world.ts'

eventLogSuite('sqlite', openSqliteWorld)
runStoreSuite('sqlite', openSqliteWorld)
runLogsSuite('sqlite', openSqliteWorld)

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
