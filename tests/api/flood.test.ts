import { test } from 'node:test'
import { flood } from '../e2e/flood-suite.ts'
import { startApi } from './harness.ts'

const SIZE = { generates: 600, maxQueued: 120 }

test('a flood on SQLite and the queue in memory: 202 or 429, and each 202 ends once', async (t) => {
  const api = await startApi(t, { maxQueuedRuns: SIZE.maxQueued, maxQueuedRunsPerTenant: SIZE.maxQueued })
  // The tests log more than a server does; nobody reads it here.
  api.app.log.level = 'warn'
  await flood(t, { url: await api.url(), store: api.store, queue: api.queue, pid: process.pid }, SIZE)
})
