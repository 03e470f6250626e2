import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { cpuMs, residentBytes } from '../process.ts'
import type { Part, Stand } from './house.ts'

/** What the processes of a stand have used so far. */
export type Usage = {
  readonly at: number
  /** Milliseconds of CPU by part, all its processes together, and of the busiest one of them. */
  readonly cpu: ReadonlyMap<Part, { readonly all: number; readonly each: readonly number[] }>
  /** Milliseconds for which cores of the machine were not idle, whoever had them. */
  readonly machineMs: number
  /** Resident bytes by part. */
  readonly memory: ReadonlyMap<Part, number>
  readonly work: MongoWork
}

/** What MongoDB was asked and looked at: unlike times it does not depend on who else uses the machine. */
export type MongoWork = {
  readonly commands: number
  /** Keys of indexes, and documents. */
  readonly keys: number
  readonly documents: number
}

const OPERATIONS = ['insert', 'query', 'update', 'delete', 'getmore', 'command'] as const

type ServerStatus = {
  readonly opcounters: Readonly<Record<(typeof OPERATIONS)[number], number>>
  readonly metrics: { readonly queryExecutor: { readonly scanned: number; readonly scannedObjects: number } }
}

const readWork = async ({ db }: Pick<Stand, 'db'>): Promise<MongoWork> => {
  const { opcounters, metrics } = (await db.command({ serverStatus: 1 })) as unknown as ServerStatus
  const commands = OPERATIONS.reduce((sum, name) => sum + Number(opcounters[name]), 0)
  const { scanned, scannedObjects } = metrics.queryExecutor
  return { commands, keys: Number(scanned), documents: Number(scannedObjects) }
}

/** User, nice, system, irq, softirq and steal of the first line of proc_stat(5), in 1/100 s. */
const readMachineMs = async (): Promise<number> => {
  if (!existsSync('/proc/stat')) return 0
  const [user, nice, system, , , irq, softirq, steal] =
    (await readFile('/proc/stat', 'utf8')).split('\n', 1)[0]?.split(/\s+/).slice(1).map(Number) ?? []
  return 10 * [user, nice, system, irq, softirq, steal].reduce<number>((sum, n = 0) => sum + n, 0)
}

export const readUsage = async (stand: Pick<Stand, 'pids' | 'db'>): Promise<Usage> => {
  const { pids } = stand
  const cpu = new Map<Part, { all: number; each: number[] }>()
  const memory = new Map<Part, number>()
  for (const { part, pid } of pids) {
    // A database that the environment names may be on another machine.
    if (!existsSync(`/proc/${pid}`)) continue
    const ms = await cpuMs(pid)
    const known = cpu.get(part) ?? { all: 0, each: [] }
    cpu.set(part, { all: known.all + ms, each: [...known.each, ms] })
    memory.set(part, (memory.get(part) ?? 0) + (await residentBytes(pid)))
  }
  return { at: performance.now(), cpu, machineMs: await readMachineMs(), memory, work: await readWork(stand) }
}

/** Parts that are mgx and what it stands on; the rest is the simulation. */
export const OURS: readonly Part[] = ['api', 'worker', 'mongodb', 'redis']

const PARTS: readonly Part[] = [...OURS, 'agents', 'driver']

/** Cores that each part had between two readings, and the busiest process of it; `machine`: all that was in use. */
export type Load = Readonly<Record<Part, { readonly cores: number; readonly busiest: number }>> & {
  readonly machine: number
}

/** Pure. */
export const loadBetween = (before: Usage, after: Usage): Load => {
  const ms = after.at - before.at
  const entries = PARTS.map((part) => {
    const { all, each } = after.cpu.get(part) ?? { all: 0, each: [0] }
    const earlier = before.cpu.get(part)
    const busiest = Math.max(...each.map((value, n) => value - (earlier?.each[n] ?? 0)))
    return [part, { cores: (all - (earlier?.all ?? 0)) / ms, busiest: busiest / ms }] as const
  })
  return { ...Object.fromEntries(entries), machine: (after.machineMs - before.machineMs) / ms } as Load
}

/** Pure. */
export const workBetween = (before: Usage, after: Usage): MongoWork => ({
  commands: after.work.commands - before.work.commands,
  keys: after.work.keys - before.work.keys,
  documents: after.work.documents - before.work.documents,
})

/** Milliseconds of CPU of mgx and its databases between two readings. Pure. */
export const ourCpuMs = (before: Usage, after: Usage): number =>
  OURS.reduce((sum, part) => sum + (after.cpu.get(part)?.all ?? 0) - (before.cpu.get(part)?.all ?? 0), 0)
