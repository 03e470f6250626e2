import type { DotChart } from './charts/chart.ts'
import { ceiling, openBareDocker } from './docker.ts'
import { absolute, type Row, relative } from './row.ts'
import type { Bench } from './stack.ts'

const AT_ONCE = [2, 4, 8] as const
/** The gateway channel needs no network; the direct one, and the polling design, do. */
const NETWORKS = ['none', 'bridge'] as const

export type Network = (typeof NETWORKS)[number]

/** Cycles of bare containers: the image, hardening and network of agents, a Node that does nothing. */
export type Cycles = { readonly network: Network; readonly atOnce: number; readonly perMinute: number }

/** Sessions of one kind, from the first POST until the last container is gone. */
export type Rate = {
  readonly name: string
  readonly group: 'ours' | 'baseline'
  readonly network: Network
  readonly perMinute: number
}

/** The engine's own rate, with 2, 4 and 8 cycles at a time. */
export const measureCycles = async (bench: Bench): Promise<Cycles[]> => {
  const found: Cycles[] = []
  for (const network of NETWORKS) {
    await using bare = await openBareDocker(bench.image, network)
    for (const atOnce of AT_ONCE) {
      found.push({ network, atOnce, perMinute: await ceiling(bare, atOnce, bench.quick ? 8 : 24) })
    }
  }
  return found
}

/** The mean of what was taken before and after something: a shared machine's speed drifts. Pure. */
export const meanOf = (before: readonly Cycles[], after: readonly Cycles[]): Cycles[] =>
  before.map((one, n) => ({ ...one, perMinute: (one.perMinute + (after[n] ?? one).perMinute) / 2 }))

const bestOf = (cycles: readonly Cycles[], network: Network): number =>
  Math.max(...cycles.filter((one) => one.network === network).map((one) => one.perMinute))

const nameOf = ({ network, atOnce }: Cycles) => `engine cycles, network ${network}, ${atOnce} at a time`

/** Each rate against the best of the engine on the same network. Pure. */
export const rateRows = (cycles: readonly Cycles[], rates: readonly Rate[]): Row[] => [
  ...cycles.map((one) => absolute(nameOf(one), one.perMinute, '1/min', null)),
  ...rates.map(({ name, group, network, perMinute }) =>
    relative(
      `sessions, ${name}`,
      perMinute,
      '1/min',
      bestOf(cycles, network),
      group === 'ours' ? { min: 0.85 } : undefined,
    ),
  ),
]

export const rateChart = (cycles: readonly Cycles[], rates: readonly Rate[]): DotChart => ({
  kind: 'dots',
  file: 'throughput',
  title: 'Sessions per minute',
  subtitle:
    'From the first POST until the last container is gone. Grey: bare create, start, wait, remove; and polling.',
  x: { label: 'per minute', scale: 'linear' },
  rows: [
    ...cycles.map((one) => ({ name: nameOf(one), group: 'baseline' as const, perMinute: one.perMinute })),
    ...rates,
  ].map(({ name, group, perMinute }) => ({ name, group, marks: [{ label: '', value: perMinute }] })),
})
