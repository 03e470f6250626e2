import { GATEWAY_MOUNT, GATEWAY_SOCKET, type RunnerJob } from '#contracts/job.ts'
import type { DotChart } from './charts/chart.ts'
import { type AgentByHand, ceiling, openBareDocker } from './docker.ts'
import { absolute, type Row, relative } from './row.ts'
import type { Bench } from './stack.ts'
import { startStubGateway } from './stub-gateway.ts'

/** The last is what our workers and the polling design have. */
const AT_ONCE = [2, 4, 8] as const
const SECONDS = 3

/** The gateway channel needs no network; the direct one, and the polling design, do. */
const NETWORKS = ['none', 'bridge'] as const

export type Network = (typeof NETWORKS)[number]

/** Cycles of containers by a plain dockerode script: the image, hardening and network of agents. */
export type Cycles = {
  readonly network: Network
  /** A Node that does nothing; or the agent, by hand, with the prompt and the model of our runs. */
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

/** The direct channel: told by its environment. */
const directByHand = (bench: Bench): AgentByHand => ({
  env: {
    FRAMEWORK: 'static',
    PROMPT: 'bench',
    MONGODB_URL: bench.mongo.urlFor({ host: bench.bridge, direct: true }),
    MONGODB_DB: 'bench_by_hand',
    OPENAI_API_KEY: 'bench',
    OPENAI_BASE_URL: `http://${bench.bridge}:${bench.modelPort}/v1`,
    OPENAI_MODEL: 'stub',
  },
})

/** The gateway channel: told by a job line, as a worker does it, with a gateway that stores nothing. */
const gatewayByHand = (directory: string): AgentByHand => ({
  env: {},
  gatewayDir: directory,
  jobLine: (name) => {
    const job: RunnerJob = {
      v: 1,
      tenant_id: 'bench',
      session_id: name,
      run_id: name,
      workspace_id: name,
      framework: 'static',
      prompt: 'bench',
      model: 'stub',
      max_steps: 50,
      deadline: new Date(Date.now() + 600_000).toISOString(),
      channel: { kind: 'gateway', url: `unix:${GATEWAY_MOUNT}/${GATEWAY_SOCKET}`, token: 'bench-by-hand' },
    }
    return `${JSON.stringify(job)}\n`
  },
})

/** The rates without mgx, with 2, 4 and 8 cycles at a time. */
export const measureCycles = async (bench: Bench): Promise<Cycles[]> => {
  const { image, quick } = bench
  await using gateway = await startStubGateway()
  const agents = { none: gatewayByHand(gateway.directory), bridge: directByHand(bench) }
  const found: Cycles[] = []
  for (const network of NETWORKS) {
    for (const program of ['nothing', 'agent'] as const) {
      await using bare = await openBareDocker({
        image,
        network,
        ...(program === 'agent' && { agent: agents[network] }),
      })
      for (const atOnce of AT_ONCE) {
        found.push({ network, program, atOnce, perMinute: await ceiling(bare, atOnce, quick ? 1 : SECONDS) })
      }
    }
  }
  return found
}

/** The mean of what was taken before and after something: a shared machine's speed drifts. Pure. */
export const meanOf = (before: readonly Cycles[], after: readonly Cycles[]): Cycles[] =>
  before.map((one, n) => ({ ...one, perMinute: (one.perMinute + (after[n] ?? one).perMinute) / 2 }))

const nameOf = ({ network, program, atOnce }: Cycles) =>
  `${program === 'agent' ? 'the agent by hand' : 'bare'}, network ${network}, ${atOnce} at a time`

const bestOf = (cycles: readonly Cycles[], program: Cycles['program'], network: Network): number =>
  Math.max(...cycles.filter((one) => one.network === network && one.program === program).map((one) => one.perMinute))

/**
 * Each rate against the best that the same agent reaches on this engine without mgx, which is the target, and against the best of
 * containers that do nothing, which shows what the agent itself costs. Pure.
 */
export const rateRows = (cycles: readonly Cycles[], rates: readonly Rate[]): Row[] => [
  ...cycles.map((one) => absolute(nameOf(one), one.perMinute, '1/min', null)),
  ...rates.map(({ name, group, network, perMinute }) => {
    const best = bestOf(cycles, 'agent', network)
    const bound = group === 'ours' ? { min: 0.85 } : undefined
    return relative(`sessions, ${name}, against the agent by hand`, perMinute, '1/min', best, bound)
  }),
  ...rates.map(({ name, network, perMinute }) =>
    relative(`sessions, ${name}, against bare cycles`, perMinute, '1/min', bestOf(cycles, 'nothing', network)),
  ),
]

export const rateChart = (cycles: readonly Cycles[], rates: readonly Rate[]): DotChart => ({
  kind: 'dots',
  file: 'throughput',
  title: 'Sessions per minute',
  subtitle:
    'From the first POST until the last container is gone. Grey: a plain dockerode script with the same agent, or with nothing in its containers; and polling.',
  x: { label: 'per minute', scale: 'linear' },
  rows: [
    ...cycles.map((one) => ({ name: nameOf(one), group: 'baseline' as const, perMinute: one.perMinute })),
    ...rates,
  ].map(({ name, group, perMinute }) => ({ name, group, marks: [{ label: '', value: perMinute }] })),
})
