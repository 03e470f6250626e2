import { meanOf, measureCycles, type Rate, rateChart, rateRows } from './ceilings.ts'
import type { DotChart } from './charts/chart.ts'
import { dockerRun } from './docker.ts'
import type { Findings } from './part.ts'
import { type Bound, median, type Row, relative, spread } from './row.ts'
import { burst, runSession } from './session.ts'
import { type Bench, type Stack, startEmbedded, startPolling, startServices } from './stack.ts'

type Kind = Pick<Rate, 'name' | 'group' | 'network'>
type Opened = Kind & { readonly stack: Stack }
type Burst = Kind & {
  readonly kind: string
  readonly size: number
  readonly ms: readonly number[]
  readonly perMinute: number
}

const measure = async ({ stack, ...kind }: Opened, size: number): Promise<Burst> => {
  const start = performance.now()
  const seen = await burst(stack, size)
  await stack.idle()
  const perMinute = size / ((performance.now() - start) / 60_000)
  return {
    ...kind,
    kind: kind.name,
    name: `${size} at once, ${kind.name}`,
    size,
    ms: seen.map((one) => one.startMs),
    perMinute,
  }
}

const openAll = async (bench: Bench, opened: AsyncDisposableStack): Promise<Opened[]> => {
  const all: Opened[] = []
  const add = (name: string, group: Kind['group'], network: Kind['network'], stack: Stack) =>
    all.push({ name, group, network, stack: opened.use(stack) })
  add('embedded, gateway', 'ours', 'none', await startEmbedded(bench, { name: 'b_embedded' }))
  add('services, gateway', 'ours', 'none', await startServices(bench, 'gateway', { name: 'b_gateway' }))
  add('services, direct', 'ours', 'bridge', await startServices(bench, 'direct', { name: 'b_direct' }))
  add('polling architecture', 'baseline', 'bridge', await startPolling(bench, { name: 'b_polling' }))
  return all
}

const burstRows = ({ name, ms }: Pick<Burst, 'name' | 'ms'>, floor: number, p99Bound?: Bound): Row[] => {
  const { p50, p95, p99 } = spread(ms)
  return [
    relative(`POST → agent_start, ${name}, p50`, p50, 'ms', floor),
    relative(`POST → agent_start, ${name}, p95`, p95, 'ms', floor),
    relative(`POST → agent_start, ${name}, p99`, p99, 'ms', floor, p99Bound),
  ]
}

/** A burst is not begun when this much time is gone: on a slow machine there are fewer. */
const BUDGET_MS = 170_000

const POOL = 16
const TIMES = 3

type Claims = Pick<Burst, 'name' | 'group' | 'ms'> & { readonly bound?: Bound }

/**
 * As many sessions at once as containers are warm, and a quarter of that: how much of it is the machine's cores. The processes have had
 * one such crowd before, as others have had sessions.
 */
const measureClaims = async (bench: Bench): Promise<Claims[]> => {
  await using stack = await startServices(bench, 'gateway', { name: 'claims', pool: POOL, concurrency: POOL })
  await stack.idle()
  await burst(stack, POOL)
  const all: Claims[] = []
  for (const size of [POOL / 4, POOL]) {
    const ms: number[] = []
    let misses = 0
    for (let n = 0; n < (bench.quick ? 1 : TIMES); n++) {
      await stack.idle()
      const seen = await burst(stack, size)
      misses += seen.filter((one) => one.reason !== 'warm').length
      ms.push(...seen.map((one) => one.startMs))
    }
    const note = misses > 0 ? ` (${misses} of ${ms.length} missed it)` : ''
    const pool = size === POOL ? 'a full pool' : `a pool of ${POOL}`
    const name = `${size} claims on ${pool}, services, gateway${note}`
    all.push({ name, group: 'ours', ms, ...(size === POOL && { bound: { max: 0.5 } }) })
  }
  return all
}

const startChart = (bursts: readonly Pick<Burst, 'name' | 'group' | 'ms'>[]): DotChart => ({
  kind: 'dots',
  file: 'bursts',
  title: 'From POST to the agent’s first event, many sessions at once',
  subtitle: 'Milliseconds, p50, p95 and p99. Grey: the polling architecture in the same run.',
  x: { label: 'milliseconds (logarithmic)', scale: 'log' },
  rows: bursts.map(({ name, group, ms }) => ({
    name,
    group,
    marks: Object.entries(spread(ms)).map(([label, value]) => ({ label, value })),
  })),
})

const measureAll = async (bench: Bench, sizes: readonly number[]): Promise<Burst[]> => {
  await using opened = new AsyncDisposableStack()
  const stacks = await openAll(bench, opened)
  for (const { stack } of stacks) {
    await runSession(stack)
    await stack.idle()
  }
  const bursts: Burst[] = []
  const end = performance.now() + BUDGET_MS
  for (const size of sizes) {
    for (const one of stacks) if (performance.now() < end) bursts.push(await measure(one, size))
  }
  return bursts
}

/** Bursts of 20 and 100 on cold stacks, 16 on a warm one, and what they make of the engine's own rate. */
export const benchBursts = async (bench: Bench): Promise<Findings> => {
  const floors: number[] = []
  for (let n = 0; n < (bench.quick ? 1 : 7); n++) floors.push(await dockerRun(bench.image))
  const floor = median(floors)
  const [small, large] = bench.quick ? [4, 8] : [20, 100]
  const before = await measureCycles(bench)
  const bursts = await measureAll(bench, [small, large])
  const cycles = meanOf(before, await measureCycles(bench))
  const claims = await measureClaims(bench)
  // The largest burst that there was time for.
  const rates = bursts.filter((one) => !bursts.some((other) => other.kind === one.kind && other.size > one.size))
  return {
    rows: [
      ...bursts.flatMap((one) => burstRows(one, floor)),
      ...claims.flatMap((one) => burstRows(one, floor, one.bound)),
      ...rateRows(cycles, rates),
    ],
    charts: [startChart([...bursts, ...claims]), rateChart(cycles, rates)],
  }
}
