import { setTimeout as sleep } from 'node:timers/promises'
import { quantile } from '../row.ts'
import type { Part as Who } from './house.ts'
import { measureCrowd, openWarmStand, type Part, type World } from './part.ts'
import { OURS } from './usage.ts'

/** Sessions per second, one step after the other, for so long each. */
const RATES = [5, 10, 15, 20, 30, 40, 55, 75, 100, 135, 180, 240]
const STEP_SECONDS = 8

/** A step is beyond the limit when its sessions waited this long for what is ours, at the median. Milliseconds. */
const TOO_LONG_MS = 1_000

/** A process of one thread that has this much of a core has no more to give; so does a machine of which this much is used. */
const BUSY = 0.85

export type Step = {
  readonly rate: number
  readonly perSecond: number
  readonly p50: number
  readonly p99: number
  readonly cores: Readonly<Record<Who, number>>
}

export type Limit = {
  /** Sessions per second of the last step that was kept up with. */
  readonly perSecond: number
  /** What had no more to give in the step after it, in words. */
  readonly resource: string
  readonly steps: readonly Step[]
  readonly violations: readonly string[]
}

const stepOf = ({ rate, perSecond, overheads, load }: Part): Step => {
  const all = overheads.map((one) => one.all)
  const cores = Object.fromEntries(Object.entries(load).map(([who, { cores }]) => [who, cores])) as Step['cores']
  return { rate, perSecond, p50: quantile(all, 0.5), p99: quantile(all, 0.99), cores }
}

const NAMES: Readonly<Record<Who, string>> = {
  api: 'the API process',
  worker: 'the workers',
  mongodb: 'MongoDB',
  redis: 'Redis',
  agents: 'the simulated agents',
  driver: 'the driver',
}

/** Which processes were at their own limit (Node's have one thread each), or who took most of a machine that was. Pure. */
export const resourceOf = ({ load }: Pick<Part, 'load'>, cores: number): string => {
  const single = (['api', 'worker', 'redis', 'driver'] as const).filter((who) => load[who].busiest >= BUSY)
  if (single.length > 0) return `one core, by ${single.map((who) => NAMES[who]).join(' and ')}`
  const used = Object.values(load).reduce((sum, { cores: of }) => sum + of, 0)
  const share = OURS.toSorted((a, b) => load[b].cores - load[a].cores)
    .map((who) => `${NAMES[who]} ${Math.round((100 * load[who].cores) / used)} %`)
    .join(', ')
  return `${used >= BUSY * cores ? 'the cores of the machine' : 'no CPU of ours: something else waits'} (${share})`
}

/** Raises the rate until sessions wait too long for us. */
export const findLimit = async (world: World, cores: number): Promise<Limit> => {
  await using stand = await openWarmStand(world, 'limit', RATES[0] ?? 5)
  const steps: Step[] = []
  const violations: string[] = []
  let perSecond = 0
  for (const rate of RATES) {
    const part = await measureCrowd(world, stand, { name: `limit${rate}`, count: Math.ceil(rate * STEP_SECONDS), rate })
    violations.push(...part.violations)
    const step = stepOf(part)
    steps.push(step)
    world.say(`limit: ${rate}/s, overhead p50 ${step.p50.toFixed(0)} ms, p99 ${step.p99.toFixed(0)} ms`)
    if (step.p50 > TOO_LONG_MS || world.signal.aborted) {
      return { perSecond, resource: resourceOf(part, cores), steps, violations }
    }
    perSecond = rate
    await sleep(500)
  }
  return { perSecond, resource: 'not met', steps, violations }
}
