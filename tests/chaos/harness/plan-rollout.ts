import type { FaultPlan, Plan, SessionPlan } from './plan.ts'
import { createRandom } from './random.ts'

export type RolloutOptions = { readonly seed: number; readonly sessions: number }

/** Before the first process is replaced so many of the sessions are there; the others come while it goes on. */
const BEFORE = 0.75

/** Milliseconds: a container starts in about this time where so many do, on two cores. */
const START_MS = 700

/** Milliseconds for which a session is at work, so that it outlives the replacement of four processes beside so many others. */
const workMs = (sessions: number): number => 10_000 + 1_400 * sessions

/**
 * A rolling update under load: sessions that work steadily, one command after the other and a long answer at the end, on one house
 * whose agents find their gateway behind a balancer; and all of its processes replaced, one after the other. Pure.
 */
export const makeRollout = ({ seed, sessions }: RolloutOptions): Plan => {
  const random = createRandom(seed, 'rollout')
  const before = Math.ceil(sessions * BEFORE)
  const steps = Math.min(60, 10 + Math.floor(sessions / 2))
  const one = (index: number): SessionPlan => ({
    name: `s${index}`,
    channel: 'gateway',
    gapMs: index < before ? 200 : Math.round(random.whole(5_000, 15_000) / Math.max(1, sessions - before)),
    crowd: false,
    runs: [
      {
        manner: 'steady',
        words: steps,
        paceMs: Math.round((workMs(sessions) / (steps + steps)) * (0.8 + random.next() / 2)),
        timeoutSeconds: 600,
        clients: [{ habit: 'patient' }, { habit: 'dropping', everyMs: random.whole(500, 3_000) }],
      },
    ],
  })
  const roll: FaultPlan = {
    kind: 'house.roll',
    channel: 'gateway',
    after: before - 1,
    delayMs: 1_000 + START_MS * before,
    lastsMs: 0,
    pick: 0,
  }
  return {
    seed,
    channels: ['gateway'],
    gateway: 'tcp',
    liveRestore: false,
    pool: 0,
    env: {
      WORKER_CONCURRENCY: String(sessions),
      AGENT_CONTAINER_MEMORY_LIMIT: '256m',
      WORKER_MEMORY_OVERCOMMIT: '100',
    },
    sessions: Array.from({ length: sessions }, (_, index) => one(index)),
    faults: [roll],
  }
}
