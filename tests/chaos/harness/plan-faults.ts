import { CHANNELS, type FaultKind, type FaultPlan, type PlanOptions } from './plan.ts'
import type { Random } from './random.ts'

type Habit = {
  /** How many for each session; at least one of each kind strikes. */
  readonly rate: number
  /** From the blow to the repair, milliseconds: shortest and longest. */
  readonly lasts: readonly [number, number]
}

/** A worker's lock and the queue's check take 15 s: who sleeps longer has been given up by then. */
const PAST_THE_LOCK = [18_000, 26_000] as const

const HABITS: Readonly<Record<FaultKind, Habit>> = {
  'worker.kill': { rate: 0.04, lasts: [0, 6_000] },
  'worker.sleep': { rate: 0.02, lasts: PAST_THE_LOCK },
  'worker.term': { rate: 0.02, lasts: [0, 2_000] },
  'api.kill': { rate: 0.04, lasts: [0, 4_000] },
  'api.term': { rate: 0.02, lasts: [0, 2_000] },
  'redis.kill': { rate: 0.02, lasts: [0, 5_000] },
  'redis.pause': { rate: 0.015, lasts: [1_000, 12_000] },
  'redis.flush': { rate: 0.02, lasts: [0, 0] },
  'mongod.kill': { rate: 0.02, lasts: [0, 5_000] },
  'mongod.pause': { rate: 0.015, lasts: [1_000, 12_000] },
  'dockerd.kill': { rate: 0.02, lasts: [0, 5_000] },
  'container.kill': { rate: 0.04, lasts: [0, 0] },
  'container.remove': { rate: 0.04, lasts: [0, 0] },
  'container.pause': { rate: 0.05, lasts: [1_000, 15_000] },
  'runner.kill': { rate: 0.04, lasts: [0, 0] },
  'model.cut': { rate: 0.03, lasts: [200, 5_000] },
  'store.cut': { rate: 0.03, lasts: [200, 5_000] },
  'disk.fill': { rate: 0.015, lasts: [2_000, 8_000] },
  'power.cut': { rate: 0.01, lasts: [0, 4_000] },
  'house.roll': { rate: 0.01, lasts: [0, 2_000] },
}

/** From the moment a prompt is sent until its container has been at work for a while: starts are hit as well. */
const DELAY_MS = [0, 5_000] as const

const planFault = (kind: FaultKind, { sessions }: PlanOptions, random: Random): FaultPlan => {
  const { lasts } = HABITS[kind]
  // In the direct channel only an agent has a connection to the store of its own.
  const channel = kind === 'store.cut' ? 'direct' : random.one(CHANNELS)
  const after = random.whole(0, sessions - 1)
  return {
    kind,
    channel,
    after,
    delayMs: random.whole(...DELAY_MS),
    lastsMs: random.whole(...lasts),
    pick: random.next(),
  }
}

export const planFaults = (options: PlanOptions, random: Random): FaultPlan[] =>
  options.kinds
    .flatMap((kind) =>
      Array.from({ length: Math.ceil(options.sessions * HABITS[kind].rate) }, () => planFault(kind, options, random)),
    )
    .sort((a, b) => a.after - b.after || a.delayMs - b.delayMs)
