import type Dockerode from 'dockerode'
import { LABELS } from '#contracts/labels.ts'
import { sleep } from '../../helpers.ts'
import type { Daemon } from '../../services/daemon.ts'
import { type House, nodesOf } from './house.ts'
import type { FaultPlan } from './plan.ts'
import type { PrivateDocker } from './private-docker.ts'
import type { Turns } from './turns.ts'

/** Where a fault strikes. */
export type Site = {
  readonly house: House
  /** The daemon of the agents, where it is the harness's own. */
  readonly dockerd?: PrivateDocker
  readonly turns: Turns
  /** Aborts when the harness is told to end: repairs come at once then. */
  readonly signal: AbortSignal
}

/** What a fault did. `runs`: those whose container or runner it touched. */
export type Hit = { readonly what: string; readonly runs: readonly string[] }

export type Fault = (site: Site, plan: FaultPlan) => Promise<Hit>

/** Something that a repair did not bring back. */
export class NotRepaired extends Error {}

export const NOTHING: Hit = { what: 'nothing was there to hit', runs: [] }

/** Waits, but not for a harness that is told to end. */
export const rest = (ms: number, { signal }: Site): Promise<void> => sleep(ms, undefined, { signal }).catch(() => {})

/** Three starts of 30 s each: a machine that is busy, or a service it needs that is being repaired too. */
const STARTS = 3

export const startAgain = async (name: string, daemon: Pick<Daemon, 'restart'>): Promise<void> => {
  for (let n = 1; ; n++) {
    try {
      return await daemon.restart()
    } catch (cause) {
      if (n === STARTS) throw new NotRepaired(`${name} did not start again: ${String(cause)}`, { cause })
    }
  }
}

export const picked = <T>(list: readonly T[], { pick }: FaultPlan): T | undefined =>
  list[Math.floor(pick * list.length)]

/** One of the house's processes of this kind, by its name. */
export const pickNode = ({ house }: Site, kind: 'worker' | 'API', plan: FaultPlan) => {
  const found = picked(
    nodesOf(house).filter(({ name }) => name.includes(` ${kind} `)),
    plan,
  )
  if (!found) throw new Error(`the house has no ${kind}`)
  return found
}

export type Agent = { readonly container: Dockerode.Container; readonly run_id: string }

const FIND_MS = 5_000

/** An agent's container that runs, waited for a little while. */
export const pickAgent = async (site: Site, plan: FaultPlan): Promise<Agent | undefined> => {
  const { stack } = site.house
  const end = Date.now() + FIND_MS
  for (;;) {
    const list = await stack.containers().catch(() => [])
    const found = picked(
      list.filter(({ State, Labels }) => State === 'running' && Labels[LABELS.run] !== undefined),
      plan,
    )
    if (found) return { container: stack.docker.getContainer(found.Id), run_id: found.Labels[LABELS.run] ?? '' }
    if (Date.now() > end || site.signal.aborted) return undefined
    await rest(100, site)
  }
}
