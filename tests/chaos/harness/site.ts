import type Dockerode from 'dockerode'
import { LABELS } from '#contracts/labels.ts'
import type { Run } from '#contracts/run.ts'
import type { Stack } from '../../e2e/stack.ts'
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

/** Handing back takes a few seconds, and ten more where a pass of reconcile waits for an outage to end. */
const LEAVE_MS = 60_000

/** Asks a process to leave; what there is to say about it, where it does not: then it is killed. */
export const untilLeft = async (name: string, process: Pick<Daemon, 'kill'>): Promise<string | undefined> => {
  const gone = process.kill('SIGTERM').then(() => true)
  if (await Promise.race([gone, sleep(LEAVE_MS, false, { ref: false })])) return undefined
  await process.kill()
  return `${name} was asked to leave and was still there after ${LEAVE_MS / 1000} s`
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

export type Agent = { readonly container: Dockerode.Container; readonly runs: readonly string[] }

const FIND_MS = 5_000

/** Of the containers that only wait for a run, where there are some, this share is hit. */
const IDLE_SHARE = 0.2

/** The runs that these containers work on, by the id of the container: a label says so, or the document of the run. */
const runsOf = async (stack: Stack, list: readonly Dockerode.ContainerInfo[]): Promise<Map<string, string>> => {
  const ids = list.map(({ Id }) => Id)
  const runs = await stack.db
    .collection<Run>('runs')
    .find({ container_id: { $in: ids } }, { maxTimeMS: FIND_MS })
    .toArray()
    .catch(() => [])
  const known = list.map(({ Id, Labels }) => [Id, Labels[LABELS.run] ?? ''] as const)
  return new Map([...known, ...runs.map((run) => [run.container_id ?? '', run.run_id] as const)])
}

/** An agent's container that runs, waited for a little while. */
export const pickAgent = async (site: Site, plan: FaultPlan): Promise<Agent | undefined> => {
  const { stack } = site.house
  const end = Date.now() + FIND_MS
  for (;;) {
    const list = (await stack.containers().catch(() => [])).filter(({ State }) => State === 'running')
    const runs = await runsOf(stack, list)
    const busy = list.filter(({ Id }) => runs.get(Id))
    const idle = list.filter(({ Id }) => !runs.get(Id))
    const found = picked(plan.pick < IDLE_SHARE && idle.length > 0 ? idle : busy, plan)
    if (found) {
      const run = runs.get(found.Id)
      return { container: stack.docker.getContainer(found.Id), runs: run ? [run] : [] }
    }
    if (Date.now() > end || site.signal.aborted) return undefined
    await rest(100, site)
  }
}
