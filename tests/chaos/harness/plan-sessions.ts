import {
  CHANNELS,
  type Channel,
  type ClientPlan,
  type Manner,
  type PlanOptions,
  type RunPlan,
  type SessionPlan,
} from './plan.ts'
import type { Random } from './random.ts'

/** Share of each manner, of 100. */
const SHARES: readonly (readonly [Manner, number])[] = [
  ['quiet', 30],
  ['chatty', 20],
  ['long', 16],
  ['failing', 10],
  ['violent', 6],
  ['frozen', 5],
  ['deaf', 5],
  ['background', 8],
]

/** [fewest words, most words, fewest milliseconds between two, most]. */
const TALK: Readonly<Record<Manner, readonly [number, number, number, number]>> = {
  quiet: [3, 8, 10, 30],
  chatty: [100, 300, 2, 10],
  long: [200, 400, 30, 60],
  failing: [3, 8, 10, 30],
  violent: [3, 8, 10, 30],
  frozen: [3, 8, 10, 30],
  deaf: [3, 8, 10, 30],
  background: [5, 30, 10, 40],
  steady: [3, 8, 10, 30],
}

/** What ends by its deadline has a short one; to the others it must leave room for outages and an adoption. */
const SHORT_S = [6, 10] as const
const LONG_S = [150, 240] as const

const CROWD = { every: 12, least: 4, most: 8 }

const mannerOf = (random: Random): Manner => {
  let left = random.next() * 100
  for (const [manner, share] of SHARES) {
    left -= share
    if (left < 0) return manner
  }
  return 'quiet'
}

const planClient = (random: Random): ClientPlan => {
  const habit = random.one(['patient', 'slow', 'dropping'])
  if (habit === 'slow') return { habit, perEventMs: random.whole(5, 40) }
  if (habit === 'dropping') return { habit, everyMs: random.whole(200, 3_000) }
  return { habit: 'patient' }
}

const planRun = (random: Random): RunPlan => {
  const manner = mannerOf(random)
  const [fewest, most, quickest, slowest] = TALK[manner]
  const ends = manner === 'frozen' || manner === 'deaf'
  return {
    manner,
    words: random.whole(fewest, most),
    paceMs: random.whole(quickest, slowest),
    timeoutSeconds: ends ? random.whole(...SHORT_S) : random.whole(...LONG_S),
    ...(random.chance(0.1) && { stopAfterMs: random.whole(0, 8_000) }),
    clients: Array.from({ length: random.whole(1, 2) }, () => planClient(random)),
  }
}

/** How many of the coming sessions arrive at once. */
const crowdAt = (index: number, random: Random): number =>
  index % CROWD.every === CROWD.every - 1 ? random.whole(CROWD.least, CROWD.most) : 0

export const planSessions = ({ sessions, durationMs }: PlanOptions, random: Random): SessionPlan[] => {
  const gap = durationMs / sessions
  const last: Partial<Record<Channel, string>> = {}
  let crowd = 0
  return Array.from({ length: sessions }, (_, index) => {
    crowd = Math.max(crowd - 1, crowdAt(index, random))
    const channel = random.one(CHANNELS)
    const before = last[channel]
    const name = `s${index}`
    last[channel] = name
    const runs = Array.from({ length: random.chance(0.25) ? 2 : 1 }, () => planRun(random))
    return {
      name,
      channel,
      gapMs: crowd > 0 ? 0 : Math.round(2 * gap * random.next()),
      crowd: crowd > 0,
      runs,
      ...(before !== undefined && random.chance(0.08) && { workspaceOf: before }),
    }
  })
}
