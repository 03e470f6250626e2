import type { QueuePlace } from '#contracts/http.ts'
import type { Waiting } from '#store/run-line.ts'
import type { Measured } from './pace.ts'

/** The waiting line as it was a moment ago. */
export type LineSnapshot = {
  /** `undefined`: the run was not waiting then. */
  placeOf(runId: string): QueuePlace | undefined
}

/** Sum over all tenants of `min(n, index)`, without going over all of them: `counts` ascending, `before[i]` = sum of the first i. */
const sumOfMins = (counts: readonly number[], before: readonly number[], index: number): number => {
  let low = 0
  let high = counts.length
  while (low < high) {
    const middle = (low + high) >> 1
    if ((counts[middle] ?? 0) < index) low = middle + 1
    else high = middle
  }
  return (before[low] ?? 0) + (counts.length - low) * index
}

/** In a queue that moves, `ahead` runs and this one have to find a place. */
const estimate = (ahead: number, own: number, pace: Measured, perTenant: number): number | null => {
  const { secondsAtWork, atWork } = pace
  if (secondsAtWork === undefined || atWork === 0) return null
  const rounds = Math.max((ahead + 1) / atWork, (own + 1) / Math.min(atWork, perTenant))
  return Math.ceil(rounds * secondsAtWork)
}

/**
 * Folds the line, piece by piece as the store gives it. Tenants take turns: before a run come those of its own tenant that are
 * before it, and of every other tenant as many.
 * @param perTenant the limit of runs at work of one tenant
 */
export const takeSnapshot = async (
  pieces: AsyncIterable<readonly Waiting[]>,
  measure: () => Promise<Measured>,
  perTenant = Infinity,
): Promise<LineSnapshot> => {
  const indexes = new Map<string, number>()
  const waiting = new Map<string, number>()
  for await (const piece of pieces) {
    for (const { run_id, tenant_id } of piece) {
      const index = waiting.get(tenant_id) ?? 0
      indexes.set(run_id, index)
      waiting.set(tenant_id, index + 1)
    }
  }
  const counts = [...waiting.values()].sort((a, b) => a - b)
  const before = [0]
  for (const n of counts) before.push((before.at(-1) ?? 0) + n)
  const pace = await measure()
  return {
    placeOf(runId) {
      const index = indexes.get(runId)
      if (index === undefined) return undefined
      const ahead = sumOfMins(counts, before, index)
      return { position: ahead + 1, ahead, estimate_seconds: estimate(ahead, index, pace, perTenant) }
    },
  }
}
