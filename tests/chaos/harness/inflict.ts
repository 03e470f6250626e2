import { AGENT_FAULTS } from './faults-agents.ts'
import { PROCESS_FAULTS } from './faults-processes.ts'
import type { Channel, FaultKind, FaultPlan } from './plan.ts'
import { type Fault, NotRepaired, rest, type Site } from './site.ts'

const FAULTS: Readonly<Record<FaultKind, Fault>> = { ...PROCESS_FAULTS, ...AGENT_FAULTS }

/** One fault as it came; times in milliseconds since the harness began. */
export type Struck = FaultPlan & {
  readonly at: number
  readonly until: number
  readonly what: string
  readonly runs: readonly string[]
  /** It could not be done, or its repair went wrong. */
  readonly error?: string
}

export type Inflict = {
  /** This session has begun: what is planned after it will strike. */
  begun(session: number): void
  readonly struck: readonly Struck[]
  /** Faults that are at work now. */
  readonly atWork: ReadonlySet<FaultPlan>
  /** Things that were not repaired: the harness's own trouble, or a process of ours that does not start or leave. */
  readonly broken: readonly string[]
  /** Resolves when every fault that was set off is over and repaired. */
  over(): Promise<void>
}

export const createInflict = (
  faults: readonly FaultPlan[],
  siteOf: (channel: Channel) => Site,
  now: () => number,
): Inflict => {
  const struck: Struck[] = []
  const atWork = new Set<FaultPlan>()
  const broken: string[] = []
  const going: Promise<void>[] = []

  const strike = async (plan: FaultPlan): Promise<void> => {
    const site = siteOf(plan.channel)
    await rest(plan.delayMs, site)
    if (site.signal.aborted) return
    const at = now()
    atWork.add(plan)
    try {
      struck.push({ ...plan, at, ...(await FAULTS[plan.kind](site, plan)), until: now() })
    } catch (error) {
      const text = error instanceof Error ? error.message : String(error)
      if (error instanceof NotRepaired) broken.push(text)
      struck.push({ ...plan, at, until: now(), what: `${plan.channel} ${plan.kind} missed`, runs: [], error: text })
    } finally {
      atWork.delete(plan)
    }
  }

  return {
    struck,
    atWork,
    broken,
    begun(session) {
      for (const plan of faults) if (plan.after === session) going.push(strike(plan))
    },
    async over() {
      await Promise.all(going)
    },
  }
}
