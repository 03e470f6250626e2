import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { MongoClient } from 'mongodb'
import type { NewEvent } from '#contracts/events.ts'
import type { Run } from '#contracts/run.ts'
import { PUBLIC_EGRESS } from '#scheduler/egress-guard.ts'
import { openGateway } from '#scheduler/gateway.ts'
import { newToken, tokenHash } from '#scheduler/run-token.ts'
import { acceptedRun, benchLog, openBenchStore } from './accepted.ts'
import type { DotChart } from './charts/chart.ts'
import { openFollowers } from './followers.ts'
import type { Findings } from './part.ts'
import { absolute, type Row, relative, spread } from './row.ts'
import { type Bench, startApi, startPolling } from './stack.ts'
import { type Channel, runWriter } from './writer.ts'

const EVERY_MS = 20
/** Of each writer: its connections, and code that has not run yet. */
const WARM_UP = 50

type Subject = {
  readonly name: string
  readonly group: 'ours' | 'baseline'
  /** Opens a reader, which ends with the returned disposable. */
  read(onEvent: (sent: bigint, at: bigint) => void): Promise<Disposable | AsyncDisposable>
  readonly run: Run
  readonly channel: Channel
  readonly ms: number[]
}

/** The floor: a majority insert here, a change stream there, and nothing else. */
const bareSubject = async (bench: Bench, stack: AsyncDisposableStack, run: Run, db: string): Promise<Subject> => {
  const client = await new MongoClient(bench.mongo.url).connect()
  stack.defer(() => client.close())
  const bare = client.db(db).collection<NewEvent>('bare_events')
  return {
    name: 'bare insert → change stream',
    group: 'baseline',
    run,
    channel: { kind: 'bare', url: bench.mongo.url, db },
    ms: [],
    async read(onEvent) {
      const changes = bare.watch([{ $match: { operationType: 'insert' } }])
      changes.on('error', () => {})
      changes.on('change', (change) => {
        if (change.operationType !== 'insert') return
        const data = change.fullDocument.data as { message: string }
        onEvent(BigInt(data.message), process.hrtime.bigint())
      })
      return { [Symbol.asyncDispose]: () => changes.close() }
    },
  }
}

const sse = (url: string, run: Run) => (onEvent: (sent: bigint, at: bigint) => void) =>
  openFollowers([`${url}/api/agent/sessions/${run.session_id}/events?run_id=${run.run_id}`], 1, onEvent)

const openSubjects = async (bench: Bench, stack: AsyncDisposableStack): Promise<Subject[]> => {
  const api = stack.use(await startApi(bench, 'bench_latency'))
  const store = stack.use(await openBenchStore(bench, api.db))
  const dir = await mkdtemp(join(tmpdir(), 'mgx-bench-'))
  stack.defer(() => rm(dir, { recursive: true, force: true }))
  const upstream = { baseUrl: `http://127.0.0.1:${bench.modelPort}/v1`, apiKey: 'bench' }
  const gateway = stack.use(await openGateway({ events: store.events, upstream, egress: PUBLIC_EGRESS, log: benchLog }))
  const token = newToken()
  const served: Run = { ...(await acceptedRun(store, 'gw')), token_hash: tokenHash(token) }
  const socket = join(dir, 'gw.sock')
  stack.use(await gateway.serve(served, socket))
  const direct = await acceptedRun(store, 'direct')
  const polling = stack.use(await startPolling(bench, { name: 'latency_polling' }))
  const polled = await acceptedRun(store, 'polled')
  return [
    {
      name: 'gateway channel',
      group: 'ours',
      run: served,
      channel: { kind: 'gateway', url: `unix:${socket}`, token },
      read: sse(api.url, served),
      ms: [],
    },
    {
      name: 'direct channel',
      group: 'ours',
      run: direct,
      channel: { kind: 'direct', url: bench.mongo.url, db: api.db },
      read: sse(api.url, direct),
      ms: [],
    },
    await bareSubject(bench, stack, direct, api.db),
    {
      name: 'polling architecture',
      group: 'baseline',
      run: polled,
      channel: { kind: 'direct', url: bench.mongo.url, db: polling.db },
      read: sse(polling.url, polled),
      ms: [],
    },
  ]
}

/** One writer's events, as its reader saw them. */
const round = async (subject: Subject, first: number, events: number): Promise<void> => {
  const seen: number[] = []
  const reader = await subject.read((sent, at) => void seen.push(Number(at - sent) / 1e6))
  await using stack = new AsyncDisposableStack()
  stack.use(reader)
  // Whoever begins at the start of the log first gets what earlier rounds wrote.
  await sleep(700)
  const replayed = seen.length
  const { run, channel } = subject
  await runWriter({ run, channel, first, events, batch: 1, everyMs: EVERY_MS })
  const end = performance.now() + 5_000
  while (seen.length < replayed + events && performance.now() < end) await sleep(10)
  if (seen.length !== replayed + events)
    throw new Error(`${subject.name}: ${seen.length - replayed} of ${events} events came`)
  subject.ms.push(...seen.slice(replayed + WARM_UP))
}

const rowsOf = ({ name, group, ms }: Subject, floor: { p50: number; p99: number }): Row[] => {
  const { p50, p95, p99 } = spread(ms)
  if (group === 'baseline') {
    return [absolute(`${name}, p50 (n = ${ms.length})`, p50, 'ms', null), absolute(`${name}, p99`, p99, 'ms', null)]
  }
  return [
    absolute(`event → client, ${name}, p50 (n = ${ms.length})`, p50, 'ms', 4),
    absolute(`event → client, ${name}, p95`, p95, 'ms', null),
    absolute(`event → client, ${name}, p99`, p99, 'ms', 25),
    relative(`event → client, ${name}, p50 against the bare insert`, p50, 'ms', floor.p50),
    relative(`event → client, ${name}, p99 against the bare insert`, p99, 'ms', floor.p99),
  ]
}

/** Event handed to the runner's sink → received by an SSE client of another process, on MongoDB, stored before shown. */
export const benchEventLatency = async (bench: Bench): Promise<Findings> => {
  await using stack = new AsyncDisposableStack()
  const subjects = await openSubjects(bench, stack)
  const [rounds, events] = bench.quick ? [1, 100] : [3, 200]
  for (let n = 0; n < rounds; n++) {
    for (const subject of subjects) await round(subject, n * events, events)
  }
  const bare = subjects.find((one) => one.channel.kind === 'bare') as Subject
  const chart: DotChart = {
    kind: 'dots',
    file: 'event-latency',
    title: 'From the runner’s hands to the client’s, one follower',
    subtitle: 'Milliseconds at 50 events a second, MongoDB, stored by a majority before shown. Grey: baselines.',
    x: { label: 'milliseconds (logarithmic)', scale: 'log' },
    rows: subjects.map(({ name, group, ms }) => ({
      name,
      group,
      marks: Object.entries(spread(ms)).map(([label, value]) => ({ label, value })),
    })),
  }
  return { rows: subjects.flatMap((one) => rowsOf(one, spread(bare.ms))), charts: [chart] }
}
