import { setTimeout as sleep } from 'node:timers/promises'
import type { Run } from '#contracts/run.ts'
import { acceptedRun, openBenchStore } from './accepted.ts'
import type { LineChart } from './charts/chart.ts'
import { openFollowers } from './followers.ts'
import type { Findings } from './part.ts'
import { absolute, type Row, relative, spread } from './row.ts'
import { type Bench, type Stack, startApi, startPolling } from './stack.ts'
import { runWriter, type WriterJob } from './writer.ts'

const FOLLOWERS = [1, 100, 1_000] as const
/** Paced: events a second, few enough that nobody falls behind. */
const PER_SECOND = 5

type Measured = { readonly followers: number; readonly ms: readonly number[]; readonly perSecond: number }

type Subject = { readonly name: string; readonly api: Stack; newRun(): Promise<Run> }

type Writing = Pick<WriterJob, 'first' | 'events' | 'batch' | 'everyMs'>

const write = (bench: Bench, { api }: Subject, run: Run, writing: Writing): Promise<void> =>
  runWriter({ run, channel: { kind: 'direct', url: bench.mongo.url, db: api.db }, ...writing })

/** How long every event may take to every follower, milliseconds: a busy machine is slow, a lost event never comes. */
const PATIENCE_MS = 120_000

const until = async (holds: () => boolean, what: string): Promise<void> => {
  const end = performance.now() + PATIENCE_MS
  while (!holds()) {
    if (performance.now() > end) throw new Error(`${what}: not within ${PATIENCE_MS} ms`)
    await sleep(5)
  }
}

/**
 * Opens the followers of a new session, paces some events past them, then gives as many as the store takes. A session of its
 * own: what polls knows no place to begin at, and would replay to each follower whatever went before.
 */
const measure = async (bench: Bench, subject: Subject, followers: number): Promise<Measured> => {
  const { api } = subject
  const run = await subject.newRun()
  const delays: number[] = []
  let count = 0
  let first: bigint | undefined
  let last = 0n
  let timed = false
  using open = await openFollowers(
    [`${api.url}/api/agent/sessions/${run.session_id}/events?run_id=${run.run_id}`],
    followers,
    (sent, at) => {
      count += 1
      first ??= sent
      last = at
      if (timed) delays.push(Number(at - sent) / 1e6)
    },
  )
  await sleep(1_000)
  timed = true
  const paced = bench.quick ? 5 : 25
  await write(bench, subject, run, { first: 0, events: paced, batch: 1, everyMs: 1_000 / PER_SECOND })
  await until(() => count === paced * open.size, `${subject.name}: every paced event at every follower`)
  timed = false
  const flood = Math.ceil((bench.quick ? 4_000 : 200_000) / Math.max(followers, 10))
  first = undefined
  await write(bench, subject, run, { first: paced, events: flood, batch: 50, everyMs: 0 })
  await until(() => count === (paced + flood) * open.size, `${subject.name}: every event at every follower`)
  return { followers, ms: delays, perSecond: (flood * followers) / (Number(last - (first ?? last)) / 1e9) }
}

const rowsOf = (ours: readonly Measured[], polled: readonly Measured[]): Row[] =>
  ours.flatMap(({ followers, ms, perSecond }, n) => {
    const { p50, p99 } = spread(ms)
    const other = polled[n]
    const base = spread(other?.ms ?? ms)
    const who = followers === 1 ? '1 follower' : `${followers} followers of one session`
    return [
      relative(`event → client, ${who}, p50, against polling`, p50, 'ms', base.p50),
      relative(`event → client, ${who}, p99, against polling`, p99, 'ms', base.p99),
      absolute(`events delivered per second, ${who}`, perSecond, '1/s', null),
    ]
  })

const charts = (ours: readonly Measured[], polled: readonly Measured[]): LineChart[] => {
  const line = (name: string, all: readonly Measured[], value: (one: Measured) => number) => ({
    name,
    points: all.map((one) => [one.followers, value(one)] as const),
  })
  const x = { label: 'followers of one session', scale: 'log' } as const
  return [
    {
      kind: 'lines',
      file: 'fan-out-latency',
      title: 'Event → client, by the number of followers',
      subtitle: `${PER_SECOND} events a second, one API process; baseline: the SSE poll of 500 ms.`,
      x,
      y: { label: 'milliseconds', scale: 'log' },
      series: [
        line('mgx, p50', ours, (one) => spread(one.ms).p50),
        line('polling, p50', polled, (one) => spread(one.ms).p50),
        line('mgx, p99', ours, (one) => spread(one.ms).p99),
        line('polling, p99', polled, (one) => spread(one.ms).p99),
      ],
    },
    {
      kind: 'lines',
      file: 'fan-out-rate',
      title: 'Events delivered per second',
      subtitle: 'As many as the store takes, one writer; every event counted once for each follower.',
      x,
      y: { label: 'events per second', scale: 'log' },
      series: [line('mgx', ours, (one) => one.perSecond), line('polling', polled, (one) => one.perSecond)],
    },
  ]
}

/** One session with 1, 100 and 1 000 followers: how late events are, and how many of them go through. */
export const benchFanOut = async (bench: Bench): Promise<Findings> => {
  await using stack = new AsyncDisposableStack()
  const api = stack.use(await startApi(bench, 'bench_fan_out'))
  const polling = stack.use(await startPolling(bench, { name: 'fan_out_polling' }))
  const store = stack.use(await openBenchStore(bench, api.db))
  const subject = (name: string, one: Stack): Subject => ({ name, api: one, newRun: () => acceptedRun(store, name) })
  const [ours, polled] = [subject('mgx', api), subject('polling', polling)]
  const found: { ours: Measured[]; polled: Measured[] } = { ours: [], polled: [] }
  for (const followers of FOLLOWERS) {
    found.ours.push(await measure(bench, ours, followers))
    found.polled.push(await measure(bench, polled, followers))
  }
  return { rows: rowsOf(found.ours, found.polled), charts: charts(found.ours, found.polled) }
}
