import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Registry } from '@prometheus-io/client'
import { meterStore } from '#main/metrics-store.ts'
import type { RunStore } from '#store/run-store.ts'
import { eventLogSuite } from '../conformance/event-log.ts'
import { runStoreSuite } from '../conformance/run-store.ts'
import { newRunOf, type StoreWorld } from '../conformance/store-world.ts'
import { openSqliteWorld } from '../store/sqlite-world.ts'

/** A store that is counted is the same store: it passes the suites of its ports. */
const openWorld = async (): Promise<StoreWorld> => {
  const world = await openSqliteWorld()
  return {
    ...world,
    async connect() {
      const opened = await world.connect()
      return { ...opened, ...meterStore(new Registry(), opened) }
    },
  }
}

eventLogSuite('sqlite, counted', openWorld)
runStoreSuite('sqlite, counted', openWorld)

test('who wants to be told that a run is stored is told', async () => {
  await using world = await openSqliteWorld()
  await using store = await world.connect()
  const tells: RunStore = {
    ...store.runs,
    async accept(run, stored) {
      const result = await store.runs.accept(run)
      if (result.outcome === 'accepted') stored?.(result.run)
      return result
    },
  }
  const { runs } = meterStore(new Registry(), { ...store, runs: tells })
  const told: string[] = []
  const run = newRunOf()
  await runs.accept(run, ({ run_id }) => told.push(run_id))
  assert.deepEqual(told, [run.run_id])
})
