/** Runs that wait, by tenant: as counted in the store a moment ago, and those that this process has let in since. */
export type WaitingCount = {
  /** Counts again where that was too long ago: at once, or behind the back of the caller. Rejects where the store does. */
  refresh(maxAgeMs: number): Promise<void>
  /** Milliseconds since the store was counted; Infinity = never. */
  age(): number
  total(): number
  of(tenantId: string): number
  /** One more that is on its way into the store. Say whether it has got there; then the next count finds it. */
  add(tenantId: string): (stored: boolean) => void
}

/** Counting may take this part of the time: a line so long that counting is slow is counted less often. */
const SHARE = 20

type Tally = Map<string, number>

const addTo = (tally: Tally, tenantId: string, n: number): void =>
  void tally.set(tenantId, Math.max(0, (tally.get(tenantId) ?? 0) + n))

const sum = (tally: ReadonlyMap<string, number>): number => [...tally.values()].reduce((all, n) => all + n, 0)

export const createWaitingCount = (count: () => Promise<ReadonlyMap<string, number>>): WaitingCount => {
  let stored: ReadonlyMap<string, number> = new Map()
  let storedTotal = 0
  let entered: Tally = new Map()
  /** What has entered since the count that is under way began. */
  let since: Tally | undefined
  const inFlight: Tally = new Map()
  let at = -Infinity
  let tookMs = 0
  let counting: Promise<void> | undefined

  const recount = async (): Promise<void> => {
    const begun = performance.now()
    // What is on its way into the store may be counted or not: it counts until the next time.
    since = new Map(inFlight)
    try {
      stored = await count()
      storedTotal = sum(stored)
      entered = since
      at = performance.now()
      tookMs = at - begun
    } finally {
      since = undefined
      counting = undefined
    }
  }
  const age = () => performance.now() - at
  return {
    age,
    refresh(maxAgeMs) {
      if (age() <= Math.max(maxAgeMs, SHARE * tookMs)) return Promise.resolve()
      counting ??= recount()
      return counting
    },
    total: () => storedTotal + sum(entered),
    of: (tenantId) => (stored.get(tenantId) ?? 0) + (entered.get(tenantId) ?? 0),
    add(tenantId) {
      const change = (n: number, tallies: readonly (Tally | undefined)[]) => {
        for (const tally of tallies) if (tally !== undefined) addTo(tally, tenantId, n)
      }
      change(1, [entered, since, inFlight])
      return (stored) => {
        change(-1, [inFlight])
        // Whatever was counted meanwhile, what is on its way is in all of them.
        if (!stored) change(-1, [entered, since])
      }
    },
  }
}
