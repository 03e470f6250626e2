import { availableParallelism, loadavg } from 'node:os'
import type { Chart } from '../charts/chart.ts'
import type { Row } from '../row.ts'
import { chartsOf, type Found, rowsOf } from './findings.ts'
import { openServices } from './house.ts'
import { findLimit, type Limit } from './limit.ts'
import { measuredTimes } from './measured.ts'
import { joined, measureCrowd, measureSessions, openWarmStand, type Part, type World } from './part.ts'
import type { Settings } from './settings.ts'

export type Report = {
  readonly settings: Settings
  readonly rate: number
  readonly rows: readonly Row[]
  readonly charts: readonly Chart[]
  /** What had no more to give, in words. */
  readonly resource: string | undefined
  readonly violations: readonly string[]
  /** Load averages of a minute, at the beginning and after each part. */
  readonly loads: readonly number[]
  readonly minutes: number
}

export type Options = {
  readonly settings: Settings
  readonly signal: AbortSignal
  readonly say: (line: string) => void
  /** Servers of its own; without, those that the environment names. Default: true. */
  readonly own?: boolean
  /** Looks for the limit first. Default: true. */
  readonly limits?: boolean
  readonly sizes?: Sizes
}

/** How it is measured; smaller only to see whether it works. */
export type Sizes = {
  /** The small crowd of the target. */
  readonly few: number
  /** Pieces in which the large one comes, to one stand; a small one, on a stand of its own, comes before each and after the last. */
  readonly pieces: number
  /** Sessions of each stand that are not counted, so that code is compiled and connections are open. */
  readonly warmUp: number
}

const SIZES: Sizes = { few: 100, pieces: 5, warmUp: 300 }

/** Of the limit: so much is left that nobody waits because others do. */
const SHARE = 0.5
const FALLBACK_RATE = 10

/** Few, some of many, few again, and so on, at one rate: what differs is how many there were, not how fast the machine was just then. */
const compare = async (world: World, rate: number, { few: size, pieces }: Sizes, sample: () => void) => {
  const { sessions } = world.settings
  await using stand = await openWarmStand(world, 'many', rate)
  const small: Part[] = []
  const large: Part[] = []
  const few = async (n: number) => {
    world.say(`few: ${size} sessions at ${rate}/s, crowd ${n + 1} of ${pieces + 1}`)
    small.push(await measureSessions(world, `few${n}`, size, rate))
    sample()
  }
  for (let n = 0; n < pieces; n++) {
    await few(n)
    const sent = (of: number) => Math.round((sessions * of) / pieces)
    world.say(`many: sessions ${sent(n) + 1} to ${sent(n + 1)} of ${sessions} at ${rate}/s`)
    large.push(await measureCrowd(world, stand, { name: `many${n}`, count: sent(n + 1) - sent(n), rate }))
    sample()
  }
  await few(pieces)
  return { small, large: joined(large) }
}

const violationsOf = ({ small, large, limit }: Found): string[] => [
  ...[...small, large].flatMap(({ violations }) => violations),
  ...(limit?.violations ?? []),
]

/** The whole simulation. Rejects only where it cannot run; broken promises are in the report. */
export const simulate = async (options: Options): Promise<Report | { readonly skip: string }> => {
  const { settings, signal, say, own = true, limits = true, sizes = SIZES } = options
  const begin = performance.now()
  const services = await openServices(own)
  if ('skip' in services) return services
  await using _services = services
  const fates = { seed: settings.seed, failures: settings.failures, times: measuredTimes() }
  const world: World = { services, settings, fates, warmUp: sizes.warmUp, signal, say }
  const loads: number[] = []
  const sample = () => void loads.push(loadavg()[0] ?? 0)
  sample()
  let limit: Limit | undefined
  if (limits) {
    limit = await findLimit(world, availableParallelism())
    sample()
  }
  if (limit?.perSecond === 0 && settings.rate === undefined) {
    throw new Error('not even the lowest rate leaves a core idle: wait until the machine is quiet, or say a RATE')
  }
  const rate = settings.rate ?? (limit ? Math.max(1, Math.floor(limit.perSecond * SHARE)) : FALLBACK_RATE)
  const found: Found = { ...(await compare(world, rate, sizes, sample)), ...(limit && { limit }) }
  return {
    settings,
    rate,
    rows: rowsOf(found),
    charts: chartsOf(found),
    resource: limit?.resource,
    violations: violationsOf(found),
    loads,
    minutes: (performance.now() - begin) / 60_000,
  }
}
