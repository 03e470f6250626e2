import type { ActiveRun } from '#store/run-line.ts'
import type { RunPatch } from '#store/run-store.ts'

/** What may be at work at once; absent = as much as the workers have places and memory for. */
export type Limits = {
  /** Runs in the whole installation. */
  readonly running?: number
  readonly runningPerTenant?: number
}

/** Who may start a run, given what is at work. */
export type Admission = {
  /** Tenants that wait and may have one more, those first whose turn it is. Empty: nobody may. */
  readonly tenants: readonly string[]
  /** What a run of this tenant takes with it, for its take-up. */
  take(tenantId: string): RunPatch
}

const isAtWork = ({ state, engine_id }: ActiveRun): boolean => state !== 'finished' && engine_id !== undefined

/** One of the numbers below `limit` that nobody holds; any of them, so that two workers seldom want the same one. */
const freePermit = (held: readonly (number | null | undefined)[], limit: number): number => {
  const taken = new Set(held)
  const free = Array.from({ length: limit }, (_, n) => n).filter((n) => !taken.has(n))
  return free[Math.floor(Math.random() * free.length)] ?? 0
}

/**
 * The tenants' turns: who has the fewest runs at work comes first, and among those who was served longest ago. `served` tells
 * the later from the earlier; who is not in it was never served.
 */
export const admit = (
  waiting: readonly string[],
  active: readonly ActiveRun[],
  served: ReadonlyMap<string, number>,
  limits: Limits,
): Admission => {
  const atWork = active.filter(isAtWork)
  const count = new Map<string, number>()
  for (const { tenant_id } of atWork) count.set(tenant_id, (count.get(tenant_id) ?? 0) + 1)
  const runs = (tenant: string) => count.get(tenant) ?? 0
  const { running = Infinity, runningPerTenant = Infinity } = limits
  const tenants = atWork.length >= running ? [] : waiting.filter((tenant) => runs(tenant) < runningPerTenant)
  const lastServed = (tenant: string) => served.get(tenant) ?? 0
  return {
    tenants: tenants.toSorted((a, b) => runs(a) - runs(b) || lastServed(a) - lastServed(b) || (a < b ? -1 : 1)),
    take(tenant) {
      const mine = atWork.filter(({ tenant_id }) => tenant_id === tenant)
      const held = (key: 'permit' | 'tenant_permit', of: readonly ActiveRun[]) => of.map((run) => run[key])
      return {
        ...(running < Infinity && { permit: freePermit(held('permit', atWork), running) }),
        ...(runningPerTenant < Infinity && {
          tenant_permit: freePermit(held('tenant_permit', mine), runningPerTenant),
        }),
      }
    },
  }
}
