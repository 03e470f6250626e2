import { randomUUID } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInProcessQueue } from '#queue/in-process.ts'
import type { JobQueue } from '#queue/job-queue.ts'
import { openSqliteStore } from '#store/sqlite.ts'
import type { OpenStore } from '#store/store.ts'
import { serveApi } from '../src/main/serve-api.ts'
import { acceptedRun, benchLog, openBenchStore } from './accepted.ts'
import { growthChart, growthRows, type Taken, timeOf } from './growth.ts'
import type { Findings } from './part.ts'
import { seedMongoSessions, seedSqliteSessions, sessionIdOf } from './seed.ts'
import type { Bench } from './stack.ts'

const TIMES = 25
const LIMIT = 50
/** Of the newest sessions, as many are being worked on. */
const ACTIVE = 25

const API = {
  corsOrigins: [],
  heartbeatMs: 15_000,
  queueTimeoutSeconds: 3_600,
  docs: false,
  version: 'bench',
  maxQueuedRuns: 1_000_000,
  maxQueuedRunsPerTenant: 1_000_000,
}

const get = async (url: string): Promise<unknown> => {
  const response = await fetch(url)
  if (response.status !== 200) throw new Error(`${url} answered ${response.status}: ${await response.text()}`)
  return response.json()
}

const post = async (url: string): Promise<void> => {
  const id = `new-${randomUUID()}`
  const response = await fetch(`${url}/api/agent/generate`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ session_id: id, workspace_id: id, framework: 'static', prompt: 'bench' }),
  })
  if (response.status !== 202) throw new Error(`generate answered ${response.status}: ${await response.text()}`)
  await response.body?.cancel()
}

/** Through the door: an API of this process on the store. */
const measure = async (adapter: string, store: OpenStore, queue: JobQueue, size: number): Promise<Taken[]> => {
  for (let n = 0; n < ACTIVE; n++) await acceptedRun(store, 'active')
  await using api = await serveApi({ store, queue, api: API, listen: { host: '127.0.0.1', port: 0 }, log: benchLog })
  const sessions = `${api.url}/api/agent/sessions`
  const middle = sessionIdOf(Math.floor(size / 2))
  const found: Taken[] = []
  const take = async (operation: string, work: () => Promise<unknown>) => {
    found.push({ adapter, operation, size, ms: await timeOf(TIMES, work) })
  }
  await take('first page of sessions', () => get(`${sessions}?limit=${LIMIT}`))
  await take('a page in the middle', () => get(`${sessions}?limit=${LIMIT}&cursor=${middle}`))
  await take('one session', () => get(`${sessions}/${middle}`))
  await take('generate in a new session', () => post(api.url))
  await take('unsettled, for reconcile', () => store.runs.unsettled(1_000))
  return found
}

/** What lists, look-ups and accepting cost with 10², 10⁴ and 10⁵ sessions in the store. */
export const benchGrowthSessions = async (bench: Bench): Promise<Findings> => {
  const sizes = bench.quick ? [100, 10_000] : [100, 10_000, 100_000]
  const found: Taken[] = []
  const dir = await mkdtemp(join(tmpdir(), 'mgx-bench-'))
  try {
    for (const size of sizes) {
      const name = `bench_growth_sessions_${size}`
      await using mongo = await openBenchStore(bench, name)
      await mongo.runs.ping()
      await seedMongoSessions(bench.mongo.url, name, size)
      const file = join(dir, `${size}.db`)
      await using sqlite = await openSqliteStore({ file })
      seedSqliteSessions(file, size)
      await using queue = createInProcessQueue({ log: benchLog })
      found.push(...(await measure('MongoDB', mongo, queue, size)))
      found.push(...(await measure('SQLite', sqlite, queue, size)))
    }
  } finally {
    await rm(dir, { recursive: true, force: true })
  }
  const chart = (adapter: string) =>
    growthChart(found, [adapter], {
      file: `growth-sessions-${adapter.toLowerCase()}`,
      title: `The API with many sessions in the store, ${adapter}`,
      subtitle: `Lower quartile of ${TIMES} requests; pages of ${LIMIT} sessions, ${ACTIVE} of the newest being worked on.`,
      x: 'sessions in the store',
    })
  return { rows: growthRows(found, 'sessions'), charts: [chart('MongoDB'), chart('SQLite')] }
}
