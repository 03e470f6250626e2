import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { MongoClient } from 'mongodb'
import { takeSnapshot } from '#api/line-snapshot.ts'
import { createPace } from '#api/pace.ts'
import type { Run } from '#contracts/run.ts'
import { newRun } from '#store/accept-rules.ts'
import { openSqliteStore } from '#store/sqlite.ts'
import type { Store } from '#store/store.ts'
import { acceptedRun, newBenchRun, openBenchStore } from './accepted.ts'
import { growthChart, growthRows, type Taken, timeOf } from './growth.ts'
import type { Findings } from './part.ts'
import type { Bench } from './stack.ts'

const TIMES = 25
const TENANTS = 20
const AT_ONCE = 2_000

const queuedRuns = (size: number): Run[] =>
  Array.from({ length: size }, (_, n) => newRun({ ...newBenchRun(`line-${n}`), tenant_id: `tenant-${n % TENANTS}` }))

/** Straight into the database, in the form that the store writes. */
const seedMongo = async (url: string, name: string, runs: readonly Run[]): Promise<void> => {
  await using client = await new MongoClient(url).connect()
  const collection = client.db(name).collection<Run & { _id: string }>('runs')
  for (let n = 0; n < runs.length; n += AT_ONCE) {
    await collection.insertMany(runs.slice(n, n + AT_ONCE).map((run) => ({ _id: run.run_id, ...run })))
  }
}

const seedSqlite = (file: string, runs: readonly Run[]): void => {
  const db = new DatabaseSync(file)
  const insert = db.prepare(`INSERT INTO runs VALUES (?, ?, ?, ?, 'queued', 0, 1, 1, NULL, ?)`)
  db.exec('BEGIN')
  for (const run of runs) insert.run(run.run_id, run.tenant_id, run.session_id, run.workspace_id, JSON.stringify(run))
  db.exec('COMMIT')
  db.close()
}

/** What a worker asks before it takes a run up, and the take-up. */
const takeOne = async ({ runs }: Store): Promise<void> => {
  const [, tenants] = await Promise.all([runs.active(), runs.waitingTenants()])
  const [first] = await runs.firstWaiting(tenants[0] ?? '', 8)
  const taken = await runs.transition(
    first ?? '',
    { attempt: 0, from: ['queued'] },
    { state: 'finished', attempt: 1, lock: false },
  )
  if (taken === undefined) throw new Error('nothing was taken up')
}

const measure = async (adapter: string, store: Store, size: number): Promise<Taken[]> => {
  const found: Taken[] = []
  const take = async (operation: string, work: () => Promise<unknown>, per = 1) => {
    found.push({ adapter, operation, size, ms: (await timeOf(TIMES, work)) / per })
  }
  await take('choose and take up a run', () => takeOne(store))
  await take('accept one more', () => acceptedRun(store, 'more'))
  const pace = createPace(store.runs)
  // One look serves all clients of a process; it may cost by the runs that wait, and no more.
  await take('count, for 1 000 that wait', () => store.runs.countWaiting(), size / 1_000)
  await take('all positions, for 1 000', () => takeSnapshot(store.runs.line(), pace.measure), size / 1_000)
  return found
}

/** What choosing a run, accepting one and looking at the line cost with 10², 10⁴ and 10⁵ runs waiting, of twenty tenants. */
export const benchGrowthLine = async (bench: Bench): Promise<Findings> => {
  const sizes = bench.quick ? [100, 10_000] : [100, 10_000, 100_000]
  const found: Taken[] = []
  const dir = await mkdtemp(join(tmpdir(), 'mgx-bench-'))
  try {
    for (const size of sizes) {
      const runs = queuedRuns(size)
      const name = `bench_growth_line_${size}`
      await using mongo = await openBenchStore(bench, name)
      await mongo.runs.ping()
      await seedMongo(bench.mongo.url, name, runs)
      found.push(...(await measure('MongoDB', mongo, size)))
      const file = join(dir, `${size}.db`)
      await using sqlite = await openSqliteStore({ file })
      seedSqlite(file, runs)
      found.push(...(await measure('SQLite', sqlite, size)))
    }
  } finally {
    await rm(dir, { recursive: true, force: true })
  }
  const chart = growthChart(found, ['MongoDB', 'SQLite'], {
    file: 'growth-line',
    title: 'The waiting line',
    subtitle: `Lower quartile of ${TIMES} calls; runs of ${TENANTS} tenants wait. Flat is right: the work does not grow.`,
    x: 'runs that wait',
  })
  return { rows: growthRows(found, 'waiting runs'), charts: [chart] }
}
