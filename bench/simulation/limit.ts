import { setTimeout as sleep } from 'node:timers/promises'
import { quantile } from '../row.ts'
import type { Part as Who } from './house.ts'
import { measureCrowd, openWarmStand, type Part, type World } from './part.ts'
import { type Load, OURS } from './usage.ts'

/** Sessions per second, one step after the other, for so long each: some times what a session lives, so that a backlog shows. */
const RATES = [5, 10, 15, 20, 25, 30, 40, 50, 60, 75, 90, 110, 135, 180, 240] as const
const STEP_SECONDS = 20

/** A step is beyond the limit when fewer sessions end than come; lives are of unequal length, hence the tolerance. */
const KEPT = 0.9
/** Or when its sessions waited this long for what is ours, at the median. Milliseconds. */
const TOO_LONG_MS = 1_000

/** A process of one thread that has this much of a core has no more to give; so does a machine of which this much is used. */
const BUSY = 0.85

export type Step = {
  readonly rate: number
  /** Of the sessions that came, how many ended, once as many were at work as would be. */
  readonly kept: number
  readonly p50: number
  readonly p99: number
  readonly cores: Readonly<Record<Who | 'machine', number>>
}

export type Limit = {
  /** Sessions per second of the last step that was kept up with. */
  readonly perSecond: number
  /** What had no more to give in the step after it, in words. */
  readonly resource: string
  readonly steps: readonly Step[]
  readonly violations: readonly string[]
}

const stepOf = ({ rate, overheads, steady: { kept, load } }: Part): Step => {
  const all = overheads.map((one) => one.all)
  const { machine, ...parts } = load
  const cores = Object.fromEntries(Object.entries(parts).map(([who, { cores }]) => [who, cores])) as Record<Who, number>
  return { rate, kept, p50: quantile(all, 0.5), p99: quantile(all, 0.99), cores: { ...cores, machine } }
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
export const resourceOf = (load: Load, cores: number): string => {
  const single = (['api', 'worker', 'redis', 'driver'] as const).filter((who) => load[who].busiest >= BUSY)
  if (single.length > 0) return `one core, by ${single.map((who) => NAMES[who]).join(' and ')}`
  const share = OURS.toSorted((a, b) => load[b].cores - load[a].cores)
    .map((who) => `${NAMES[who]} ${Math.round((100 * load[who].cores) / load.machine)} %`)
    .join(', ')
  return `${load.machine >= BUSY * cores ? 'the cores of the machine' : 'no CPU of ours: something else waits'} (${share})`
}

/** More came than it keeps up with, or the machine has nothing left: twenty seconds do not find every backlog. Pure. */
export const isBeyond = ({ kept, p50, machine }: Pick<Step, 'kept' | 'p50'> & Pick<Load, 'machine'>, cores: number) =>
  kept < KEPT || p50 > TOO_LONG_MS || machine >= BUSY * cores

/** Raises the rate until sessions pile up, or wait too long for us. */
export const findLimit = async (world: World, cores: number): Promise<Limit> => {
  await using stand = await openWarmStand(world, 'limit', RATES[0])
  const steps: Step[] = []
  const violations: string[] = []
  let perSecond = 0
  for (const rate of RATES) {
    const part = await measureCrowd(world, stand, { name: `limit${rate}`, count: Math.ceil(rate * STEP_SECONDS), rate })
    violations.push(...part.violations)
    const step = stepOf(part)
    steps.push(step)
    const [p50, p99] = [step.p50.toFixed(0), step.p99.toFixed(0)]
    const { machine } = step.cores
    world.say(
      `limit: ${rate}/s, ${Math.round(100 * step.kept)} % end as they come, overhead p50 ${p50} ms, p99 ${p99} ms, ${machine.toFixed(2)} cores in use`,
    )
    if (isBeyond({ ...step, machine }, cores) || world.signal.aborted) {
      return { perSecond, resource: resourceOf(part.steady.load, cores), steps, violations }
    }
    perSecond = rate
    await sleep(500)
  }
  return { perSecond, resource: 'not met', steps, violations }
}
