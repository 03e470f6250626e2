/** What one run of the simulation is told; environment variables of `make simulate`. */
export type Settings = {
  readonly sessions: number
  readonly workers: number
  readonly seed: number
  /** Runs that one worker has in hand at a time. */
  readonly places: number
  /** Sessions accepted per second; absent = half of what the limit was found to be. */
  readonly rate?: number
  /** Times the failures of fates.ts. */
  readonly failures: number
}

const DEFAULTS = { SESSIONS: 10_000, WORKERS: 2, SEED: 20_261_121, PLACES: 500 }

const numberOf = (env: NodeJS.ProcessEnv, name: string, isGood: (value: number) => boolean, rule: string) => {
  const text = env[name]
  if (text === undefined || text === '') return undefined
  const value = Number(text)
  if (!isGood(value)) throw new RangeError(`${name}=${text}: must be ${rule}`)
  return value
}

const isWhole = (most: number) => (value: number) => Number.isSafeInteger(value) && value >= 1 && value <= most

/** From the environment. Throws a RangeError that says the rule. */
export const readSettings = (env: NodeJS.ProcessEnv): Settings => {
  const whole = (name: keyof typeof DEFAULTS, most: number) =>
    numberOf(env, name, isWhole(most), `a whole number from 1 to ${most}`) ?? DEFAULTS[name]
  const rate = numberOf(env, 'RATE', (value) => value > 0 && value <= 1_000, 'a number above 0, up to 1000')
  return {
    sessions: whole('SESSIONS', 1_000_000),
    workers: whole('WORKERS', 32),
    seed: whole('SEED', 2 ** 40),
    places: whole('PLACES', 1_000),
    ...(rate !== undefined && { rate }),
    failures: numberOf(env, 'FAILURES', (value) => value >= 0 && value <= 9, 'a number from 0 to 9') ?? 1,
  }
}
