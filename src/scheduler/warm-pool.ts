import { randomUUID } from 'node:crypto'
import { availableParallelism } from 'node:os'
import type { Logger } from 'pino'
import type { WarmMiss } from '#contracts/warm.ts'
import { EngineError } from './engines/engine.ts'
import type { WarmEngine, WarmSlot } from './engines/warm-engine.ts'
import { slotSpec } from './sandbox-spec.ts'
import { renewLease } from './slot-workspace.ts'
import { discardSlot, startSlot } from './start-slot.ts'
import { createShelf, type WarmShelf } from './warm-shelf.ts'
import type { WorkerConfig } from './worker-context.ts'

export type PoolStats = {
  /** Slots that a run may have now, and slots under way. */
  readonly ready: number
  readonly starting: number
  readonly hits: number
  readonly misses: Readonly<Partial<Record<WarmMiss, number>>>
}

/** Containers that are started ahead. It can only make a start faster: who finds no slot here starts cold. */
export type WarmPool = AsyncDisposable & {
  /** A slot that is ready and from now on the caller's, or why there is none. */
  take(): WarmSlot | Extract<WarmMiss, 'pool_empty' | 'pool_draining'>
  /** One that was taken and is untouched. */
  putBack(slot: WarmSlot): void
  /** What came of a start, for the figures. `image_changed` makes the pool look at the other slots, too. */
  note(outcome: 'warm' | WarmMiss): void
  /** True for slots that this process keeps or starts. */
  holds(slot: string): boolean
  stats(): PoolStats
  /** Since a slot was given away last, milliseconds. */
  sinceTake(): number
  /** Of memory, for slots that wait or start. */
  bytes(): number
}

export type PoolOptions = {
  readonly warm: WarmEngine
  readonly engineId: string
  readonly config: WorkerConfig
  readonly log: Pick<Logger, 'info' | 'warn' | 'debug'>
  /** How often slots are looked after, milliseconds; for tests. */
  readonly tendMs?: number
}

/** What a slot takes of memory while it waits, with room: see docs/operations.md. */
const SLOT_BYTES = 64 * 1024 ** 2

/** Slots start when no run has taken one for so long: a burst has the machine for itself. But not for ever. */
const QUIET_MS = 200
const PATIENT_MS = 1_000

/** Between two looks whether slots are too old, or of another image than runs would get now; and two renewals of their leases. */
const TEND_MS = 30_000
const MAX_AGE_MS = 3_600_000

/** How long a miss because the pool was empty keeps it one slot larger. */
const DEMAND_MS = 120_000

/** After a slot that could not be started, or that died. */
const RETRY_MS = 5_000

/** Throws `EngineError` when so many slots are more than half of the machine's memory; @returns the most there may be. */
const mostSlots = async ({ warm, config }: PoolOptions): Promise<number> => {
  const memory = await warm.memoryBytes()
  const most = Math.floor(memory / 2 / SLOT_BYTES)
  if (config.warmPoolSize <= most) return most
  throw new EngineError(
    'start_failed',
    `WARM_POOL_SIZE=${config.warmPoolSize}: so many waiting containers take more than half of the ` +
      `${(memory / 1024 ** 3).toFixed(1)} GiB of memory that the Docker daemon's machine has`,
    `Set WARM_POOL_SIZE to ${most} or less.`,
  )
}

/** How many slots there should be: as many as are asked for, and one more for each recent run that found none. */
const createDemand = (size: number, most: number) => {
  let empties: number[] = []
  return {
    wanted: (): number => {
      empties = empties.filter((at) => Date.now() - at < DEMAND_MS)
      return Math.min(most, 2 * size, size + empties.length)
    },
    missed: (): void => void empties.push(Date.now()),
  }
}

type Filling = AsyncDisposable & {
  /** Slots under way. */
  readonly starting: ReadonlySet<string>
  readonly stopped: boolean
  /** A slot was taken: there will be room. */
  soon(): void
  tend(): void
}

const createFilling = (options: PoolOptions, shelf: WarmShelf, wanted: () => number): Filling => {
  const { warm, config, log, tendMs = TEND_MS } = options
  // One place less than there are: a run that must start cold finds it free.
  const atOnce = Math.max(1, availableParallelism() - 1)
  const stop = new AbortController()
  const starting = new Set<string>()
  const work = new Set<Promise<void>>()
  let timer: NodeJS.Timeout | undefined
  let patience: number | undefined

  const later = (ms: number): void => {
    clearTimeout(timer)
    if (!stop.signal.aborted) timer = setTimeout(tend, ms)
  }
  const startOne = async (slot: string): Promise<void> => {
    try {
      const started = await startSlot(options, slot, stop.signal)
      starting.delete(slot)
      shelf.put(started)
      if (stop.signal.aborted) shelf.drop((one) => one === started)
      fill()
    } catch (err) {
      starting.delete(slot)
      if (stop.signal.aborted) return
      log.warn({ err }, 'a warm container could not be started; runs start cold meanwhile')
      later(RETRY_MS)
    }
  }
  const fill = (): void => {
    while (!stop.signal.aborted && shelf.size + starting.size < wanted() && starting.size < atOnce) {
      const slot = randomUUID()
      starting.add(slot)
      const one: Promise<void> = startOne(slot).finally(() => work.delete(one))
      work.add(one)
    }
  }
  const dropStale = async (): Promise<void> => {
    const key = await warm.key(slotSpec('', config))
    shelf.drop((slot, sinceMs) => sinceMs > MAX_AGE_MS || slot.key !== key)
  }
  const renewLeases = async (): Promise<void> => {
    const { workspacesRoot: root } = config
    const lapsed = (slot: string) => (err: unknown) => log.warn({ err, slot }, 'the lease of a slot was not renewed')
    await Promise.all(shelf.names().map((slot) => renewLease(root, slot).catch(lapsed(slot))))
  }
  const tend = (): void => {
    patience = undefined
    void renewLeases()
    dropStale()
      .catch((err: unknown) => log.debug({ err }, 'the slots could not be looked at'))
      .finally(fill)
    later(tendMs)
  }
  return {
    starting,
    get stopped() {
      return stop.signal.aborted
    },
    soon() {
      patience ??= Date.now() + PATIENT_MS
      later(Math.max(0, Math.min(QUIET_MS, patience - Date.now())))
    },
    tend,
    async [Symbol.asyncDispose]() {
      stop.abort()
      clearTimeout(timer)
      await Promise.all(work)
    },
  }
}

/** Opens the pool and begins to fill it. Rejects with `EngineError` when the engine does not answer or the pool is too large. */
export const openWarmPool = async (options: PoolOptions): Promise<WarmPool> => {
  const { config, log } = options
  const demand = createDemand(config.warmPoolSize, await mostSlots(options))
  const shelf = createShelf(
    (slot) => discardSlot(options, slot),
    () => filling.soon(),
  )
  const filling = createFilling(options, shelf, demand.wanted)
  const misses: Partial<Record<WarmMiss, number>> = {}
  let hits = 0
  let lastTake = 0
  filling.tend()
  return {
    take() {
      if (filling.stopped) return 'pool_draining'
      filling.soon()
      lastTake = Date.now()
      return shelf.take() ?? 'pool_empty'
    },
    putBack(slot) {
      shelf.put(slot)
      if (filling.stopped) shelf.drop((one) => one === slot)
    },
    note(outcome) {
      if (outcome === 'warm') hits += 1
      else misses[outcome] = (misses[outcome] ?? 0) + 1
      if (outcome === 'pool_empty') demand.missed()
      if (outcome === 'image_changed') filling.tend()
    },
    holds: (slot) => filling.starting.has(slot) || shelf.has(slot),
    sinceTake: () => Date.now() - lastTake,
    bytes: () => (shelf.size + filling.starting.size) * SLOT_BYTES,
    stats: () => ({ ready: shelf.size, starting: filling.starting.size, hits, misses: { ...misses } }),
    async [Symbol.asyncDispose]() {
      await filling[Symbol.asyncDispose]()
      shelf.drop(() => true)
      await shelf.settled()
      log.info({ hits, misses }, 'the warm pool is drained')
    },
  }
}
