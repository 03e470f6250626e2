import { checkStand } from './check.ts'
import { type Driven, drive } from './drive.ts'
import { type FateOptions, fateOf } from './fates.ts'
import { openStand, type Services, type Stand } from './house.ts'
import { type Overhead, overheadOf } from './marks.ts'
import type { Settings } from './settings.ts'
import { type Load, loadBetween, type MongoWork, ourCpuMs, readUsage, type Usage, workBetween } from './usage.ts'

/** Where a simulation runs, and who is told how it goes. */
export type World = {
  readonly services: Services
  readonly settings: Settings
  readonly fates: FateOptions
  /** Sessions of each stand that are not counted. */
  readonly warmUp: number
  readonly signal: AbortSignal
  readonly say: (line: string) => void
}

/** The second half of the sending, in which as many sessions are at work as will be. */
export type Steady = {
  /** Sessions that ended in it, for each that was sent in it: below 1, they pile up. */
  readonly kept: number
  readonly load: Load
}

/** What one crowd of sessions came to on a stand. */
export type Part = {
  readonly sessions: number
  readonly rate: number
  /** In the order in which they were accepted. */
  readonly overheads: readonly Overhead[]
  readonly answers: readonly number[]
  /** Runs at work at once, at most. */
  readonly peak: number
  readonly perSecond: number
  readonly eventsPerSecond: number
  /** Milliseconds of CPU of mgx and its databases for each session. */
  readonly cpuMs: number
  /** What MongoDB had to do for all of them. */
  readonly work: MongoWork
  readonly steady: Steady
  /** Resident bytes of API and workers, before and after. */
  readonly memory: readonly [number, number]
  readonly violations: readonly string[]
  /** Milliseconds from the first POST to the last end. */
  readonly ms: number
}

/** Most runs that were taken up and not settled at one time. Pure. */
export const peakOf = (lives: readonly { readonly taken: number; readonly settled: number }[]): number => {
  const changes = lives.flatMap(({ taken, settled }) => [[taken, 1] as const, [settled, -1] as const])
  changes.sort(([a], [b]) => a - b)
  let at = 0
  let most = 0
  for (const [, change] of changes) {
    at += change
    most = Math.max(most, at)
  }
  return most
}

const progressTo = ({ say }: World, name: string, count: number) => {
  let next = 0
  return (sent: number, ended: number): void => {
    if (performance.now() < next) return
    next = performance.now() + 5_000
    say(`${name}: ${sent} of ${count} sent, ${ended} ended`)
  }
}

export const overheadsOf = ({ ended }: Driven): Overhead[] =>
  ended.toSorted((a, b) => a.accepted - b.accepted).map(overheadOf)

type Crowd = { readonly name: string; readonly count: number; readonly rate: number }

type Reading = { readonly ended: number; readonly usage: Usage }

/** @param sent sessions, between two readings. Pure. */
export const steadyOf = (from: Reading, to: Reading, sent: number): Steady => ({
  kept: (to.ended - from.ended) / sent,
  load: loadBetween(from.usage, to.usage),
})

/** Takes a reading in the middle of the sending and one at its end; the sending goes on meanwhile. */
const createWatch = (stand: Stand, count: number) => {
  const middle = Math.floor(count / 2)
  const readings: Promise<Reading>[] = []
  const read = async (ended: number): Promise<Reading> => ({ ended, usage: await readUsage(stand) })
  return {
    sent(sent: number, ended: number): void {
      if (sent < (readings.length === 0 ? middle : count) || readings.length === 2) return
      const reading = read(ended)
      // Met by `steady`, or by nobody where something else ended the crowd.
      reading.catch(() => {})
      readings.push(reading)
    },
    async steady(): Promise<Steady> {
      const [from, to] = await Promise.all(readings)
      if (from === undefined || to === undefined) throw new Error('the sending was interrupted')
      return steadyOf(from, to, count - middle)
    },
  }
}

/** Sends a crowd to a stand, waits for its end, and looks at what is stored. */
export const measureCrowd = async (world: World, stand: Stand, crowd: Crowd): Promise<Part> => {
  const fate = (sessionId: string) => fateOf(world.fates, sessionId)
  const before = await readUsage(stand)
  const say = progressTo(world, crowd.name, crowd.count)
  const watch = createWatch(stand, crowd.count)
  const progress = (sent: number, ended: number) => {
    watch.sent(sent, ended)
    say(sent, ended)
  }
  const driven = await drive(stand, { ...crowd, fate, signal: world.signal, progress })
  const after = await readUsage(stand)
  const { events, violations } = await checkStand(stand, driven, fate, crowd.name)
  const sessions = driven.ended.length
  const resident = (usage: typeof before) => (usage.memory.get('api') ?? 0) + (usage.memory.get('worker') ?? 0)
  return {
    sessions,
    rate: crowd.rate,
    overheads: overheadsOf(driven),
    answers: driven.answers,
    peak: peakOf(driven.ended),
    perSecond: (sessions * 1_000) / driven.ms,
    eventsPerSecond: (events * 1_000) / driven.ms,
    cpuMs: ourCpuMs(before, after) / Math.max(1, sessions),
    work: workBetween(before, after),
    steady: await watch.steady(),
    memory: [resident(before), resident(after)],
    violations,
    ms: driven.ms,
  }
}

/** Opens a stand whose processes are warm. */
export const openWarmStand = async (world: World, name: string, rate: number): Promise<Stand> => {
  const stand = await openStand(world.services, world.settings, name)
  const { violations } = await measureCrowd(world, stand, { name: `warm-${name}`, count: world.warmUp, rate })
  if (violations.length === 0) return stand
  await stand[Symbol.asyncDispose]()
  throw new Error(`the warm-up of ${name} broke a promise: ${violations.slice(0, 3).join('; ')}`)
}

export const measureSessions = async (world: World, name: string, count: number, rate: number): Promise<Part> => {
  await using stand = await openWarmStand(world, name, rate)
  return await measureCrowd(world, stand, { name, count, rate })
}

const sum = (values: readonly number[]): number => values.reduce((all, value) => all + value, 0)

/** Crowds that came one after the other to one stand, as one. Pure. */
export const joined = (parts: readonly Part[]): Part => {
  const [first, last] = [parts[0], parts.at(-1)]
  if (first === undefined || last === undefined) throw new RangeError('no part')
  const sessions = sum(parts.map((part) => part.sessions))
  const ms = sum(parts.map((part) => part.ms))
  return {
    ...last,
    sessions,
    overheads: parts.flatMap(({ overheads }) => overheads),
    answers: parts.flatMap(({ answers }) => answers),
    peak: Math.max(...parts.map(({ peak }) => peak)),
    perSecond: (sessions * 1_000) / ms,
    eventsPerSecond: sum(parts.map((part) => part.eventsPerSecond * part.ms)) / ms,
    cpuMs: sum(parts.map((part) => part.cpuMs * part.sessions)) / Math.max(1, sessions),
    work: {
      commands: sum(parts.map(({ work }) => work.commands)),
      keys: sum(parts.map(({ work }) => work.keys)),
      documents: sum(parts.map(({ work }) => work.documents)),
    },
    memory: [first.memory[0], last.memory[1]],
    violations: parts.flatMap(({ violations }) => violations),
    ms,
  }
}
