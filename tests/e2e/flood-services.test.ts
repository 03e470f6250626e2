import { randomUUID } from 'node:crypto'
import { test } from 'node:test'
import { openBullQueue } from '#queue/bullmq.ts'
import { openMongoStore } from '#store/mongodb.ts'
import { freePort } from '../helpers.ts'
import { flood } from './flood-suite.ts'
import { openData } from './stack-data.ts'
import { startApi } from './stack-node.ts'

const SIZE = { generates: 2_000, maxQueued: 120 }

test('a flood on an API process, MongoDB and Redis: 202 or 429, and each 202 ends once', async (t) => {
  await using stack = new AsyncDisposableStack()
  const db = `flood-${randomUUID().slice(0, 8)}`
  const data = await openData(stack, { db, own: false })
  if ('skip' in data) return t.skip(data.skip)
  const port = await freePort()
  const env = {
    MONGODB_URL: data.servicesUrl,
    MONGODB_DB: db,
    REDIS_URL: data.redis.url,
    MAX_QUEUED_RUNS: String(SIZE.maxQueued),
    API_DOCS: '0',
    LOG_LEVEL: 'warn',
    PORT: String(port),
  }
  const api = stack.use(await startApi(env))
  const store = stack.use(await openMongoStore({ url: data.servicesUrl, db }))
  const queue = stack.use(openBullQueue({ url: data.redis.url, prefix: db }))
  const inner = stack.use(new AsyncDisposableStack())
  const scope = { after: (fn: () => unknown) => inner.defer(async () => void (await fn())) }
  await flood(
    { ...scope, diagnostic: (text) => t.diagnostic(text) },
    { url: `http://127.0.0.1:${port}`, store, queue, pid: api.pid },
    SIZE,
  )
})
