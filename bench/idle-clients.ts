import { setTimeout as sleep } from 'node:timers/promises'
import { acceptedRun, openBenchStore } from './accepted.ts'
import type { LineChart } from './charts/chart.ts'
import { openFollowers } from './followers.ts'
import type { Findings } from './part.ts'
import { cpuMs, heapBytes, PROBE, residentBytes } from './process.ts'
import { absolute } from './row.ts'
import { type Bench, type Stack, startApi } from './stack.ts'

/** What is paid once (code, pools) is paid by the first of these; the growth is taken from there on. */
const FIRST = 100
const SESSIONS = 1_000
const SETTLE_MS = 4_000
const MIB = 1024 * 1024

type Taken = { readonly clients: number; readonly rss: number; readonly heap: number }

const take = async ({ api }: Stack, clients: number): Promise<Taken> => {
  await sleep(SETTLE_MS)
  const rss = await residentBytes(api.pid)
  return { clients, rss, heap: await heapBytes(api) }
}

/** Share of one core that the API uses while nothing happens but heartbeats and polls, in percent. */
const idleCpu = async ({ api }: Stack, seconds: number): Promise<number> => {
  const before = await cpuMs(api.pid)
  await sleep(seconds * 1_000)
  return (100 * ((await cpuMs(api.pid)) - before)) / (seconds * 1_000)
}

const chartOf = (taken: readonly Taken[]): LineChart => ({
  kind: 'lines',
  file: 'idle-followers',
  title: 'Memory of one API process, by idle followers',
  subtitle: `${SESSIONS} sessions; resident as the kernel counts it, heap after a collection.`,
  x: { label: 'idle followers', scale: 'linear' },
  y: { label: 'MiB', scale: 'linear' },
  series: [
    { name: 'resident', points: taken.map((one) => [one.clients, one.rss / MIB] as const) },
    { name: 'heap in use', points: taken.map((one) => [one.clients, one.heap / MIB] as const) },
  ],
})

/** Memory of the API at rest, what 10 000 clients that follow 1 000 queued runs add to it, and what they cost while idle. */
export const benchIdleClients = async (bench: Bench): Promise<Findings> => {
  const steps = bench.quick ? [500] : [1_000, 4_000, 10_000]
  const [cpuSeconds, most] = [bench.quick ? 5 : 30, steps.at(-1) ?? 0]
  // The first start fills the compile cache.
  await (await startApi(bench, 'bench_idle', PROBE))[Symbol.asyncDispose]()
  await using api = await startApi(bench, 'bench_idle', PROBE)
  await using store = await openBenchStore(bench, api.db)
  const urls: string[] = []
  for (let n = 0; n < (bench.quick ? SESSIONS / 10 : SESSIONS); n++) {
    const run = await acceptedRun(store, 'idle')
    // At work, and silent: who waits is told about the line.
    await store.runs.transition(run.run_id, { attempt: 0, from: ['queued'] }, { state: 'running', attempt: 1 })
    urls.push(`${api.url}/api/agent/sessions/${run.session_id}/events`)
  }
  const rest = await take(api, 0)
  const restCpu = await idleCpu(api, cpuSeconds / 3)
  using stack = new DisposableStack()
  stack.use(await openFollowers(urls, FIRST))
  const base = await take(api, FIRST)
  const taken = [rest, base]
  for (const clients of steps) {
    const before = taken.at(-1)?.clients ?? 0
    stack.use(await openFollowers(urls, clients - before))
    taken.push(await take(api, clients))
  }
  const cpu = await idleCpu(api, cpuSeconds)
  const full = taken.at(-1) ?? base
  const each = (bytes: number) => bytes / (full.clients - FIRST) / 1024
  return {
    rows: [
      absolute('API process at rest, resident', rest.rss / MIB, 'MiB', 150),
      absolute(`idle follower at ${most}, resident each`, each(full.rss - base.rss), 'KiB', 25),
      absolute(`idle follower at ${most}, heap each`, each(full.heap - base.heap), 'KiB', 10),
      absolute('API process without followers, of one core', restCpu, '%', null),
      absolute(`API process with ${most} idle followers, of one core`, cpu, '%', null),
    ],
    charts: [chartOf(taken)],
  }
}
