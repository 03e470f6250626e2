import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { makeEvent } from '#contracts/events.ts'
import { DEFAULT_TENANT } from '#contracts/ids.ts'
import { createFollower } from '#store/follow.ts'
import { openSqliteStore } from '#store/sqlite.ts'
import type { Store } from '#store/store.ts'
import { openBenchStore } from './accepted.ts'
import { growthChart, growthRows, type Taken, timeOf } from './growth.ts'
import type { Findings } from './part.ts'
import { RUN_EVENTS, runIdOf, seedMongoEvents, seedSqliteEvents } from './seed.ts'
import type { Bench } from './stack.ts'

const TIMES = 15
const LIMIT = 100

/** From a new follower's first question to the first event it is given. */
const firstOf = async (store: Store, session: string, after: number, runId?: string): Promise<void> => {
  await using follower = createFollower(store.events)
  const signal = new AbortController().signal
  for await (const _ of follower.follow(session, { after, signal, ...(runId && { runId }) })) return
}

/** Events behind the seeded ones, one after the other, each timed until a follower has it. */
const openAppender = (store: Store, session: string, size: number) => {
  const run = { tenant_id: DEFAULT_TENANT, session_id: session, workspace_id: session, run_id: `${session}-late` }
  const follower = createFollower(store.events)
  const events = follower.follow(session, { after: size, signal: new AbortController().signal })[Symbol.asyncIterator]()
  let n = 0
  const once = async () => {
    const next = events.next()
    await store.events.append(session, [
      makeEvent(run, `${run.run_id}:r:${n++}`, 'log', { level: 'info', message: '' }),
    ])
    await next
  }
  return { once, [Symbol.asyncDispose]: () => follower[Symbol.asyncDispose]() }
}

const measure = async (adapter: string, store: Store, sizes: readonly number[]): Promise<Taken[]> => {
  const found: Taken[] = []
  for (const size of sizes) {
    const session = `log-${size}`
    const lastRun = runIdOf(session, size / RUN_EVENTS - 1)
    const take = async (operation: string, work: () => Promise<unknown>) => {
      found.push({ adapter, operation, size, ms: await timeOf(TIMES, work) })
    }
    await take('a page from the start', () => store.events.list(session, { after: 0, limit: LIMIT }))
    await take('a page from the end', () => store.events.list(session, { after: size - LIMIT, limit: LIMIT }))
    await take('the last run’s page', () => store.events.list(session, { after: 0, limit: LIMIT, runId: lastRun }))
    await take('marks of the last run', () => store.events.marks(session, lastRun))
    await take('follow from the end', () => firstOf(store, session, size - 1))
    await take('follow the last run', () => firstOf(store, session, 0, lastRun))
    await using appender = openAppender(store, session, size)
    await take('append one, follow it', appender.once)
  }
  return found
}

/** What reading, following and adding cost in sessions of 10², 10⁴ and 10⁶ events that lie in one database. */
export const benchGrowthLog = async (bench: Bench): Promise<Findings> => {
  const sizes = bench.quick ? [100, 10_000] : [100, 10_000, 1_000_000]
  await using stack = new AsyncDisposableStack()
  const mongo = stack.use(await openBenchStore(bench, 'bench_growth_log'))
  await mongo.runs.ping()
  await seedMongoEvents(bench.mongo.url, 'bench_growth_log', sizes)
  const dir = await mkdtemp(join(tmpdir(), 'mgx-bench-'))
  stack.defer(() => rm(dir, { recursive: true, force: true }))
  const file = join(dir, 'mgx.db')
  const sqlite = stack.use(await openSqliteStore({ file }))
  seedSqliteEvents(file, sizes)
  const found = [...(await measure('MongoDB', mongo, sizes)), ...(await measure('SQLite', sqlite, sizes))]
  const chart = (adapter: string) =>
    growthChart(found, [adapter], {
      file: `growth-log-${adapter.toLowerCase()}`,
      title: `Reading and following long sessions, ${adapter}`,
      subtitle: `Lower quartile of ${TIMES} calls; pages of ${LIMIT} events. Flat is right: the work does not grow.`,
      x: 'events in the session',
    })
  return { rows: growthRows(found, 'events'), charts: [chart('MongoDB'), chart('SQLite')] }
}
