import type { Cause } from '#contracts/causes.ts'
import { createRandom } from '../../tests/chaos/harness/random.ts'
import type { EngineTimes } from './measured.ts'

/** What becomes of a simulated session. */
export type FateKind = 'completed' | 'agent_error' | 'start_fails' | 'crashes' | 'oom' | 'lost' | 'hangs' | 'cancelled'

/** The cause that its `finish` must have, whoever writes it. */
export const CAUSE_OF: Readonly<Record<FateKind, Cause>> = {
  completed: 'completed',
  agent_error: 'agent_error',
  start_fails: 'start_failed',
  crashes: 'container_exited',
  oom: 'oom_killed',
  lost: 'container_lost',
  hangs: 'timeout',
  cancelled: 'cancelled',
}

/**
 * Of a thousand sessions. Chosen, not measured: enough that 10 000 sessions have a hundred of each kind, and every other
 * way to an end than the plain one is under load as well.
 */
const OF_A_THOUSAND: Readonly<Record<Exclude<FateKind, 'completed'>, number>> = {
  agent_error: 20,
  start_fails: 20,
  crashes: 15,
  oom: 10,
  lost: 10,
  hangs: 10,
  cancelled: 20,
}

/** One step of an agent, milliseconds: the model talks, then a tool works. */
export type SimStep = { readonly modelMs: number; readonly toolMs: number }

export type Fate = {
  readonly kind: FateKind
  readonly startMs: number
  readonly removeMs: number
  readonly steps: readonly SimStep[]
  /** Of one that is cancelled: how long after it was accepted, milliseconds. */
  readonly cancelMs: number
}

/** What follows from a seed: the fate of each session, by its name, in every process alike. */
export type FateOptions = {
  readonly seed: number
  readonly times: EngineTimes
  /** Times the failures of {@link OF_A_THOUSAND}. */
  readonly failures: number
}

const kindAt = (u: number, failures: number): FateKind => {
  let edge = 0
  for (const [kind, share] of Object.entries(OF_A_THOUSAND)) {
    edge += (share * failures) / 1_000
    if (u < edge) return kind as FateKind
  }
  return 'completed'
}

/** A session that hangs is given so many seconds. */
export const HANG_SECONDS = 4

export const fateOf = ({ seed, times, failures }: FateOptions, sessionId: string): Fate => {
  const random = createRandom(seed, sessionId)
  const kind = kindAt(random.next(), failures)
  const startMs = times.start(random.next())
  const removeMs = times.remove(random.next())
  // Some seconds in all, which is short for an agent: what counts here is how often runs begin and end.
  const steps = Array.from({ length: random.whole(1, 4) }, () => ({
    modelMs: random.whole(300, 1_200),
    toolMs: random.whole(50, 600),
  }))
  return { kind, startMs, removeMs, steps, cancelMs: random.whole(300, 2_500) }
}
