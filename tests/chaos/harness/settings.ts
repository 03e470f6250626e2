import { FAULT_KINDS, type FaultKind } from './plan.ts'

/** What one run of the harness is told. */
export type Settings = {
  /** `rollout`: sessions that work steadily while every process is replaced in turn, and nothing else. */
  readonly mode: 'chaos' | 'rollout'
  readonly seed: number
  readonly sessions: number
  /** Seconds over which sessions arrive, at most; on a busy machine they wait for a place. */
  readonly duration: number
  /** Sessions at once, beside those that come in a crowd. */
  readonly places: number
  readonly kinds: readonly FaultKind[]
  /** More of the environment of APIs and workers. */
  readonly env: Readonly<Record<string, string>>
}

/** Measured on two cores: eight sessions at once end in about this time each. */
const SECONDS_PER_SESSION = 2.5
const DEFAULTS = { SESSIONS: 40, PLACES: 8 }

const whole = (env: NodeJS.ProcessEnv, name: string, fallback: number): number => {
  const text = env[name]
  if (text === undefined || text === '') return fallback
  const value = Number(text)
  if (!Number.isSafeInteger(value) || value < 1) throw new RangeError(`${name}=${text}: must be a whole number from 1`)
  return value
}

/** `FAULTS=worker.kill,redis`: these, or all whose name begins so. Without: all. */
const kindsOf = (text: string | undefined): FaultKind[] => {
  if (text === undefined || text === '') return [...FAULT_KINDS]
  const wanted = text.split(',').map((part) => part.trim())
  const unknown = wanted.filter((part) => !FAULT_KINDS.some((kind) => kind.startsWith(part)))
  if (unknown.length > 0)
    throw new RangeError(`FAULTS: no such fault: ${unknown.join(', ')}. There are ${FAULT_KINDS.join(' ')}`)
  return FAULT_KINDS.filter((kind) => wanted.some((part) => kind.startsWith(part)))
}

/** `WITH=LOG_LEVEL=debug,AGENT_MAX_STEPS=5`: more of the environment of APIs and workers. */
const envOf = (text: string | undefined): Record<string, string> => {
  const pairs = (text ?? '').split(',').filter((pair) => pair !== '')
  return Object.fromEntries(
    pairs.map((pair) => {
      const at = pair.indexOf('=')
      if (at < 1) throw new RangeError(`WITH: ${pair} must be NAME=value`)
      return [pair.slice(0, at), pair.slice(at + 1)]
    }),
  )
}

/** From the environment. Throws a RangeError that says the rule. */
export const readSettings = (env: NodeJS.ProcessEnv, newSeed: () => number): Settings => {
  const sessions = whole(env, 'SESSIONS', DEFAULTS.SESSIONS)
  const mode = env.MODE === 'rollout' ? 'rollout' : 'chaos'
  return {
    mode,
    seed: whole(env, 'SEED', newSeed()),
    sessions,
    duration: whole(env, 'DURATION', Math.ceil(sessions * SECONDS_PER_SESSION)),
    places: whole(env, 'PLACES', mode === 'rollout' ? sessions : DEFAULTS.PLACES),
    kinds: mode === 'rollout' ? ['house.roll'] : kindsOf(env.FAULTS),
    env: envOf(env.WITH),
  }
}

/** What repeats such a run. */
export const commandOf = ({ mode, seed, sessions, duration, places, kinds, env }: Settings): string => {
  const faults = kinds.length === FAULT_KINDS.length ? '' : ` FAULTS=${kinds.join(',')}`
  const more = Object.entries(env).map(([name, value]) => `${name}=${value}`)
  const beside = more.length === 0 ? '' : ` WITH=${more.join(',')}`
  if (mode === 'rollout') return `make rollout SESSIONS=${sessions} SEED=${seed}${beside}`
  return `make chaos SESSIONS=${sessions} SEED=${seed} DURATION=${duration} PLACES=${places}${faults}${beside}`
}
