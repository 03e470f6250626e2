import type { DotChart } from './charts/chart.ts'
import { ceiling, openBareDocker } from './docker.ts'
import { absolute, type Row, relative } from './row.ts'
import type { Bench } from './stack.ts'

const AT_ONCE = [2, 4, 8] as const
const AGENTS_AT_ONCE = 4
/** The gateway channel needs no network; the direct one, and the polling design, do. */
const NETWORKS = ['none', 'bridge'] as const

export type Network = (typeof NETWORKS)[number]

/** Cycles of bare containers: the image, hardening and network of agents. */
export type Cycles = {
  readonly network: Network
  /** A Node that does nothing; or the agent, by hand, with the same prompt as our runs. */
  readonly program: 'nothing' | 'agent'
  readonly atOnce: number
  readonly perMinute: number
}

/** Sessions of one kind, from the first POST until the last container is gone. */
export type Rate = {
  readonly name: string
  readonly group: 'ours' | 'baseline'
  readonly network: Network
  readonly perMinute: number
}

const agentEnv = (bench: Bench): Record<string, string> => ({
  FRAMEWORK: 'static',
  PROMPT: 'bench',
  MONGODB_URL: bench.mongo.urlFor({ host: bench.bridge, direct: true }),
  MONGODB_DB: 'bench_by_hand',
  OPENAI_API_KEY: 'bench',
  OPENAI_BASE_URL: `http://${bench.bridge}:${bench.modelPort}/v1`,
  OPENAI_MODEL: 'stub',
})

/** The engine's own rate, with 2, 4 and 8 cycles at a time. */
export const measureCycles = async (bench: Bench): Promise<Cycles[]> => {
  const { image, quick } = bench
  const found: Cycles[] = []
  for (const network of NETWORKS) {
    await using bare = await openBareDocker({ image, network })
    for (const atOnce of AT_ONCE) {
      found.push({ network, program: 'nothing', atOnce, perMinute: await ceiling(bare, atOnce, quick ? 1 : 4) })
    }
  }
  await using agents = await openBareDocker({ image, network: 'bridge', agent: agentEnv(bench) })
  const perMinute = await ceiling(agents, AGENTS_AT_ONCE, quick ? 1 : 4)
  return [...found, { network: 'bridge', program: 'agent', atOnce: AGENTS_AT_ONCE, perMinute }]
}

/** The mean of what was taken before and after something: a shared machine's speed drifts. Pure. */
export const meanOf = (before: readonly Cycles[], after: readonly Cycles[]): Cycles[] =>
  before.map((one, n) => ({ ...one, perMinute: (one.perMinute + (after[n] ?? one).perMinute) / 2 }))

const bestOf = (cycles: readonly Cycles[], network: Network): number =>
  Math.max(...cycles.filter((one) => one.network === network && one.program === 'nothing').map((one) => one.perMinute))

const nameOf = ({ network, program, atOnce }: Cycles) =>
  program === 'agent' ? `the agent by hand, ${atOnce} at a time` : `bare, network ${network}, ${atOnce} at a time`

const byHand = (cycles: readonly Cycles[]): number =>
  cycles.find((one) => one.program === 'agent')?.perMinute ?? Number.NaN

/** Each rate against the best of the engine on the same network, and against the same agent without mgx. Pure. */
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
  ...rates.map(({ name, perMinute }) =>
    relative(`sessions, ${name}, against the agent by hand`, perMinute, '1/min', byHand(cycles)),
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
