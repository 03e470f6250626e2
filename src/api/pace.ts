import type { ActiveRun, Ended } from '#store/run-line.ts'
import type { RunStore } from '#store/run-store.ts'

/** What is known of how fast the line moves. */
export type Measured = {
  /** Mean time for which a run held its place at work, seconds; `undefined` with too few runs to say. */
  readonly secondsAtWork: number | undefined
  readonly atWork: number
  readonly atWorkOf: ReadonlyMap<string, number>
}

export type Pace = {
  /** Measured now, or a few seconds ago. */
  measure(): Promise<Measured>
  /** How long the line takes for one run; `undefined` = not known. */
  secondsPerRun(): Promise<number | undefined>
}

/** The newest finished runs that are looked at, and how many of them must have been at work. */
const SAMPLE = 50
const ENOUGH = 3

/** How long a measure counts, milliseconds. */
const KEPT_MS = 5_000

const secondsOf = ({ started_at, finished_at, seen_at }: Ended): number => {
  const end = Math.max(finished_at?.getTime() ?? 0, seen_at?.getTime() ?? 0)
  return Math.max(0, end - (started_at?.getTime() ?? 0)) / 1000
}

export const measured = (active: readonly ActiveRun[], recent: readonly Ended[]): Measured => {
  const atWork = active.filter(({ state, engine_id }) => state !== 'finished' && engine_id !== undefined)
  const atWorkOf = new Map<string, number>()
  for (const { tenant_id } of atWork) atWorkOf.set(tenant_id, (atWorkOf.get(tenant_id) ?? 0) + 1)
  const times = recent.filter(({ engine_id, started_at }) => engine_id && started_at).map(secondsOf)
  const mean = times.reduce((sum, seconds) => sum + seconds, 0) / times.length
  return { secondsAtWork: times.length < ENOUGH ? undefined : mean, atWork: atWork.length, atWorkOf }
}

export const createPace = (runs: RunStore): Pace => {
  let last: Promise<Measured> | undefined
  let at = -Infinity
  const measure = (): Promise<Measured> => {
    if (last !== undefined && performance.now() - at < KEPT_MS) return last
    at = performance.now()
    const fresh = Promise.all([runs.active(), runs.recent(SAMPLE)]).then(([active, recent]) => measured(active, recent))
    fresh.catch(() => {
      if (last === fresh) last = undefined
    })
    last = fresh
    return fresh
  }
  return {
    measure,
    async secondsPerRun() {
      const { secondsAtWork, atWork } = await measure()
      return secondsAtWork === undefined || atWork === 0 ? undefined : secondsAtWork / atWork
    },
  }
}
