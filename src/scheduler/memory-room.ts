import type { TakeUp } from './take-up.ts'
import type { WorkerContext } from './worker-context.ts'

/** A sum of what is at work is read anew when it is older, milliseconds. */
const FRESH_MS = 1_000

/** Two looks for one run: the second takes what the first has read. */
const SAME_MS = 20

/**
 * So much of what was free at the last reading this worker takes without another one. Each of the other workers of the engine may do
 * so unseen, within that second.
 */
const SHARE = 1 / 8

/** The memory that the containers of this engine may have together. */
export type MemoryRoom = {
  /** Reads what is at work now, unless what is known will do. Rejects as the store does. */
  refresh(): Promise<void>
  /** Does it where one more container fits; `undefined` where none does. A run that it takes up is counted in. */
  within(take: () => Promise<TakeUp>): Promise<TakeUp | undefined>
}

/**
 * Far from the limit, what is at work is summed up once a second and not for each run: else every run would cost the more, the
 * more there are. Near it, it is read anew for each.
 */
export const createMemoryRoom = ({ config, engineId, warmBytes, store }: WorkerContext): MemoryRoom => {
  const { memoryBytes: memory, limits } = config
  const need = limits.memoryBytes
  let held = 0
  let readAt = -Infinity
  /** Taken up by this worker since the last reading began, or about to be; bytes. */
  let taken = 0
  let pending = 0
  let reading: Promise<void> | undefined

  const read = async (): Promise<void> => {
    const at = performance.now()
    const before = taken
    held = await store.runs.memoryHeld(engineId, need)
    taken -= before
    readAt = at
  }
  const warm = () => warmBytes?.() ?? 0
  const isSure = (limit: number): boolean => {
    const age = performance.now() - readAt
    return age < SAME_MS || (age < FRESH_MS && taken + pending + need <= SHARE * (limit - held - warm()))
  }
  const refresh = async (): Promise<void> => {
    if (memory === undefined || isSure(memory)) return
    reading ??= read().finally(() => {
      reading = undefined
    })
    await reading
  }
  const fits = (): boolean => {
    const used = held + taken + pending
    // A first run always fits: the configuration saw to that, and what waits for runs must not keep them out.
    return memory === undefined || used === 0 || used + warm() + need <= memory
  }
  return {
    refresh,
    async within(take) {
      await refresh()
      if (!fits()) return undefined
      pending += need
      try {
        const result = await take()
        if (result.kind === 'taken') taken += need
        return result
      } finally {
        pending -= need
      }
    },
  }
}
