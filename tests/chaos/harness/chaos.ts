import { DEFAULT_TIMINGS } from '#scheduler/worker-context.ts'
import type { Skip } from '../../services/daemon.ts'
import { collect, untilSettled } from './collect.ts'
import type { Evidence, SessionEvidence } from './evidence.ts'
import type { House } from './house.ts'
import { createInflict, type Inflict } from './inflict.ts'
import { leaveHouse } from './leftovers.ts'
import { type Opened, openHouses, openMachine } from './machine.ts'
import { type Channel, makePlan, type Plan } from './plan.ts'
import { makeRollout } from './plan-rollout.ts'
import { startProgress } from './progress.ts'
import type { Report } from './report.ts'
import { runLines } from './run-lines.ts'
import { createSessions, type Sessions } from './sessions.ts'
import { commandOf, type Settings } from './settings.ts'
import type { Site } from './site.ts'
import { openTemp } from './temp.ts'
import { createTouches } from './touches.ts'
import { createTurns, type Turns } from './turns.ts'
import { judge } from './verdict.ts'
import { startWatchdog, type Watchdog } from './watchdog.ts'

export type ChaosOptions = {
  readonly settings: Settings
  readonly say: (line: string) => void
  readonly signal: AbortSignal
}

/** The longest time for which nobody could end a run, beside the worker's own graces. */
const graceOf = ({ faults }: Plan): number => {
  const { stale, stopGrace, enginePatience, reconcile } = DEFAULT_TIMINGS
  const outage = Math.max(0, ...faults.map(({ lastsMs }) => lastsMs))
  return stale + 2 * stopGrace + enginePatience + 2 * reconcile + 2 * outage
}

/** What acts on the opened houses. */
type Stage = {
  readonly opened: Opened
  readonly turns: Turns
  readonly sessions: Sessions
  readonly inflict: Inflict
  readonly now: () => number
}

const createStage = (plan: Plan, opened: Opened, { settings, signal }: ChaosOptions, since: number): Stage => {
  const turns = createTurns()
  const now = () => Date.now() - since
  const houseOf = (channel: Channel): House => {
    const house = opened.houses.find((one) => one.channel === channel)
    if (!house) throw new Error(`no house for ${channel}`)
    return house
  }
  const own = opened.dockerd && { dockerd: opened.dockerd }
  const siteOf = (channel: Channel): Site => ({ house: houseOf(channel), turns, signal, ...own })
  const inflict = createInflict(plan.faults, siteOf, now)
  const sessions = createSessions({ plan, houseOf, places: settings.places, onBegun: inflict.begun, signal })
  return { opened, turns, sessions, inflict, now }
}

const gather = async (plan: Plan, stage: Stage, watchdog: Watchdog, since: number): Promise<Evidence> => {
  const { opened, sessions, inflict } = stage
  const { houses, dockerd } = opened
  await Promise.all(houses.map(untilSettled))
  watchdog[Symbol.dispose]()
  const left = await Promise.all(houses.map((house) => leaveHouse(house, dockerd !== undefined)))
  const collected: SessionEvidence[] = []
  for (const house of houses) {
    const about = { struck: inflict.struck, channel: house.channel, since, liveRestore: plan.liveRestore }
    collected.push(...(await collect(house, sessions.accepted, createTouches(about))))
  }
  return {
    accepted: sessions.accepted,
    sessions: collected,
    graceMs: graceOf(plan),
    leftovers: left.flatMap(({ leftovers }) => leftovers),
    broken: [...watchdog.ended, ...inflict.broken, ...left.flatMap(({ broken }) => broken)],
    refused: sessions.refused,
  }
}

type Played = Pick<Report, 'without' | 'logs'> & {
  readonly evidence: Evidence
  readonly sessions: Sessions
  readonly inflict: Inflict
}

const opening = ({ faults, liveRestore, pool, channels }: Plan): string => {
  const own = faults.some(({ kind }) => kind === 'dockerd.kill')
  const daemon = `on a Docker daemon of their own, live-restore ${liveRestore ? 'on' : 'off'}`
  const houses = channels.length === 1 ? `one house, ${channels[0]} channel` : 'two houses, one for each channel'
  return `opening ${houses}, warm pools of ${pool}${own ? `, ${daemon}` : ''}`
}

const leave = async ({ accepted }: Sessions): Promise<void> => {
  await Promise.all(accepted.flatMap(({ clients }) => clients.map(({ follower }) => follower[Symbol.asyncDispose]())))
}

/** All of it, from the first process to the last look; everything is closed when it resolves. */
const play = async (plan: Plan, dir: string, options: ChaosOptions, since: number): Promise<Played | Skip> => {
  const { settings, say } = options
  await using open = new AsyncDisposableStack()
  say(opening(plan))
  const machine = await openMachine(open, plan, dir)
  if ('skip' in machine) return machine
  const opened = await openHouses(open, machine, { plan, dir, env: settings.env })
  if ('skip' in opened) return opened
  const stage = createStage(plan, opened, options, since)
  const { sessions, inflict, now } = stage
  using watchdog = startWatchdog(opened.houses, stage.turns)
  using _progress = startProgress({ plan, sessions, inflict, now, say })
  await sessions.drive()
  await inflict.over()
  say('all sessions are over: settling, looking for what is left, comparing')
  const evidence = await gather(plan, stage, watchdog, since)
  await leave(sessions)
  const logs = opened.houses.map(({ channel, stack }) => ({ channel, text: stack.logs() }))
  return { evidence, sessions, inflict, without: opened.without, logs }
}

const planOf = ({ mode, seed, sessions, duration, kinds }: Settings): Plan =>
  mode === 'rollout'
    ? makeRollout({ seed, sessions })
    : makePlan({ seed, sessions, durationMs: duration * 1000, kinds })

/** One whole run of the harness, from its settings to its report. `{ skip }` where this machine has no Docker, MongoDB or Redis. */
export const runChaos = async (options: ChaosOptions): Promise<Report | Skip> => {
  const { settings } = options
  const { seed } = settings
  const plan = planOf(settings)
  const since = Date.now()
  // Each server of the houses listens for the end of this process, to end with it.
  process.setMaxListeners(Math.max(process.getMaxListeners(), 50))
  await using temp = await openTemp()
  const played = await play(plan, temp.dir, options, since)
  if ('skip' in played) return played
  const { evidence, sessions, inflict, without, logs } = played
  const left = (await temp.left()).map((name) => `${name} in the directory for temporary files`)
  const violations = judge({ ...evidence, leftovers: [...evidence.leftovers, ...left] })
  return {
    mode: settings.mode,
    seed,
    command: commandOf(settings),
    seconds: (Date.now() - since) / 1000,
    without,
    runs: runLines(evidence, sessions, violations),
    faults: inflict.struck,
    violations,
    plan,
    logs: violations.length === 0 ? [] : logs,
  }
}
