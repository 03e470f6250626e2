import type { DotChart } from './charts/chart.ts'
import { ceiling, dockerRun, openBareDocker } from './docker.ts'
import type { Findings } from './part.ts'
import { absolute, median, type Row, relative, spread } from './row.ts'
import { burst, runSession } from './session.ts'
import { type Bench, type Stack, startEmbedded, startPolling, startServices } from './stack.ts'
import { WARM_POOL } from './warm.ts'

type Burst = {
  readonly name: string
  readonly group: 'ours' | 'baseline'
  readonly ms: readonly number[]
  readonly perMinute: number
}

/** Sessions per minute from the first POST until the last container is gone. */
const measure = async (name: string, group: Burst['group'], stack: Stack, size: number): Promise<Burst> => {
  const start = performance.now()
  const seen = await burst(stack, size)
  await stack.idle()
  return {
    name: `${size} at once, ${name}`,
    group,
    ms: seen.map((one) => one.startMs),
    perMinute: size / ((performance.now() - start) / 60_000),
  }
}

type Opened = { readonly name: string; readonly group: Burst['group']; readonly stack: Stack }

const openAll = async (bench: Bench, stack: AsyncDisposableStack): Promise<Opened[]> => {
  const all: Opened[] = [
    { name: 'embedded, gateway', group: 'ours', stack: await startEmbedded(bench, { name: 'b_embedded' }) },
    { name: 'services, gateway', group: 'ours', stack: await startServices(bench, 'gateway', { name: 'b_gateway' }) },
    { name: 'services, direct', group: 'ours', stack: await startServices(bench, 'direct', { name: 'b_direct' }) },
    { name: 'polling architecture', group: 'baseline', stack: await startPolling(bench, { name: 'b_polling' }) },
  ]
  for (const one of all) stack.use(one.stack)
  return all
}

const burstRows = ({ name, ms }: Burst, floor: number): Row[] => {
  const { p50, p95, p99 } = spread(ms)
  return [
    relative(`POST → agent_start, ${name}, p50`, p50, 'ms', floor),
    relative(`POST → agent_start, ${name}, p95`, p95, 'ms', floor),
    relative(`POST → agent_start, ${name}, p99`, p99, 'ms', floor),
  ]
}

const AT_ONCE = [2, 4, 8] as const

/** The engine's own rate, with 2, 4 and 8 cycles at a time; the best of them is the ceiling. */
const ceilings = async (bench: Bench): Promise<{ readonly atOnce: number; readonly perMinute: number }[]> => {
  await using bare = await openBareDocker(bench.image)
  const found: { atOnce: number; perMinute: number }[] = []
  for (const atOnce of AT_ONCE) {
    found.push({ atOnce, perMinute: await ceiling(bare, atOnce, bench.quick ? 8 : 40) })
  }
  return found
}

const POOL = 16
const CLAIMS = 3

/** As many sessions at once as containers are warm. */
const claims = async (bench: Bench, floor: number): Promise<{ rows: Row[]; bursts: Burst[] }> => {
  if (WARM_POOL === undefined) return { rows: [], bursts: [] }
  const options = { name: 'claims', pool: POOL, concurrency: POOL }
  await using stack = await startServices(bench, 'gateway', options)
  const ms: number[] = []
  for (let n = 0; n < (bench.quick ? 1 : CLAIMS); n++) {
    await stack.idle()
    ms.push(...(await burst(stack, POOL)).map((one) => one.startMs))
  }
  const name = `${POOL} claims on a full pool, services, gateway`
  const { p50, p95, p99 } = spread(ms)
  return {
    rows: [
      relative(`POST → agent_start, ${name}, p50`, p50, 'ms', floor),
      relative(`POST → agent_start, ${name}, p95`, p95, 'ms', floor),
      relative(`POST → agent_start, ${name}, p99`, p99, 'ms', floor, { max: 0.5 }),
    ],
    bursts: [{ name, group: 'ours', ms, perMinute: 0 }],
  }
}

const startChart = (bursts: readonly Burst[]): DotChart => ({
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

const rateChart = (rates: readonly { name: string; group: Burst['group']; value: number }[]): DotChart => ({
  kind: 'dots',
  file: 'throughput',
  title: 'Sessions per minute',
  subtitle:
    'A burst, from the first POST until the last container is gone, against bare create/start/wait/remove cycles.',
  x: { label: 'sessions, or cycles, per minute', scale: 'linear' },
  rows: rates.map(({ name, group, value }) => ({ name, group, marks: [{ label: '', value }] })),
})

/** Bursts of 20 and 100 on cold stacks, 16 on a warm one, and what they make of the engine's own rate. */
export const benchBursts = async (bench: Bench): Promise<Findings> => {
  const floors: number[] = []
  for (let n = 0; n < (bench.quick ? 1 : 5); n++) floors.push(await dockerRun(bench.image))
  const floor = median(floors)
  const before = await ceilings(bench)
  await using stack = new AsyncDisposableStack()
  const stacks = await openAll(bench, stack)
  const [small, large] = bench.quick ? [4, 8] : [20, 100]
  const bursts: Burst[] = []
  for (const { stack: one } of stacks) await runSession(one)
  for (const size of [small, large]) {
    for (const { name, group, stack: one } of stacks) bursts.push(await measure(name, group, one, size))
  }
  const after = await ceilings(bench)
  // Taken before and after the bursts: the machine is shared, and its speed drifts.
  const cycles = before.map((one, n) => ({ ...one, perMinute: median([one.perMinute, after[n]?.perMinute ?? 0]) }))
  const best = Math.max(...cycles.map((one) => one.perMinute))
  const claimed = await claims(bench, floor)
  const rates = bursts.filter((one) => one.name.startsWith(`${large} `))
  return {
    rows: [
      ...bursts.flatMap((one) => burstRows(one, floor)),
      ...claimed.rows,
      ...cycles.map((one) => absolute(`engine cycles, ${one.atOnce} at a time`, one.perMinute, '1/min', null)),
      ...rates.map((one) =>
        relative(
          `sessions, ${one.name}`,
          one.perMinute,
          '1/min',
          best,
          one.group === 'ours' ? { min: 0.85 } : undefined,
        ),
      ),
    ],
    charts: [
      startChart([...bursts, ...claimed.bursts]),
      rateChart([
        ...cycles.map((one) => ({
          name: `engine, ${one.atOnce} at a time`,
          group: 'baseline' as const,
          value: one.perMinute,
        })),
        ...rates.map((one) => ({ name: one.name, group: one.group, value: one.perMinute })),
      ]),
    ],
  }
}
