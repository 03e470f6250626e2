import { setTimeout as sleep } from 'node:timers/promises'
import type { Logger } from 'pino'
import type { QuotaInForce } from '#contracts/attestation.ts'
import type { DiskProbe, DiskSpace, OwnSpace } from './disk-probe.ts'
import type { Verdict } from './watch.ts'

/** One workspace while a run is at work in it. */
export type WatchedWorkspace = {
  readonly workspace_id: string
  readonly path: string
  /** No container of the run exists yet: then a full disk refuses it. */
  readonly starting: boolean
}

/** Keeps the workspaces of this worker's runs within their quota, and the disk they lie on from being full. */
export type DiskGuard = {
  /** What holds this workspace now. */
  quotaOf(path: string): Promise<QuotaInForce>
  /** Resolves when the run must end, with the reason; rejects with `signal.reason`. */
  watch(workspace: WatchedWorkspace, signal: AbortSignal): Promise<Verdict>
}

export type DiskLimits = {
  /** Bytes of one workspace; absent = as much as there is. */
  readonly quotaBytes?: number
  /** Workspaces are file systems of their own, where they can be. */
  readonly hard?: boolean
  /** Bytes of the file system that stay free, so that events and results can still be stored. */
  readonly reserveBytes: number
}

type Options = DiskLimits & {
  readonly root: string
  readonly probe: DiskProbe
  readonly log: Pick<Logger, 'warn'>
  /** Between two looks at the file system, milliseconds: what one process can write meanwhile is much less than a reserve. */
  readonly lookMs?: number
}

const LOOK_MS = 250

/** A small file system keeps no more of itself free than this part. */
const RESERVE_PART = 10

/** Counting a workspace may take this part of the time, and no workspace is counted more often than that. */
const COUNTING_PART = 50
const SUSPICIOUS_PART = 10
const SOONEST_MS = 1_000
const LATEST_MS = 10_000

/** Growth that is no reason to end a run: the files that any run leaves. */
const SMALL = 1024 * 1024

const MIB = 1024 * 1024

const inWords = (bytes: number): string => `${Math.ceil(bytes / MIB)} MB`

export const overQuota = (used: number, quota: number, id: string): string =>
  `The workspace "${id}" holds ${inWords(used)}, its quota is ${inWords(quota)}. Delete files in it, or raise AGENT_WORKSPACE_QUOTA`

export const diskFull = (total: number, id: string): string =>
  `The workspace "${id}" is full: its disk of ${inWords(total)}, or the number of files it can hold, is used up. ` +
  'Raise AGENT_WORKSPACE_QUOTA, or delete files in it'

export const diskShort = ({ free }: DiskSpace, reserve: number, id: string): string =>
  `The disk of the workspaces has ${inWords(free)} free, ${inWords(reserve)} are kept free, and the workspace "${id}" ` +
  'needs more. Free some there, or set AGENT_WORKSPACE_QUOTA'

/** What is known of a workspace. */
type Known = WatchedWorkspace & {
  used: number | undefined
  /** Used at the look before. */
  before: number | undefined
  countedAt: number
  /** What counting took, milliseconds. */
  cost: number
  /** Free bytes of the file system when it was counted. */
  freeThen: number
  seen: boolean
  readonly since: number
  readonly signal: AbortSignal
  end(error: string): void
}

/**
 * Whether to count again. What the file system has lost since the last time is the most that this workspace can have grown (but
 * for what others gave back, which the slow rhythm covers): as long as that stays below the quota, one `statfs` is enough.
 */
export const isDue = (
  known: Pick<Known, 'used' | 'countedAt' | 'cost' | 'freeThen' | 'since'>,
  { free, now, quota }: { readonly free: number; readonly now: number; readonly quota: number },
): boolean => {
  // Not before: an agent begins in the first moments, and a count forks this process.
  if (known.used === undefined) return now - known.since >= SOONEST_MS
  const age = now - known.countedAt
  if (age < Math.max(SOONEST_MS, SUSPICIOUS_PART * known.cost)) return false
  if (known.used + Math.max(0, known.freeThen - free) > quota) return true
  return age >= Math.max(LATEST_MS, COUNTING_PART * known.cost)
}

const count = async (known: Known, free: number, probe: DiskProbe, urgent = false): Promise<void> => {
  const start = Date.now()
  const used = await probe.used(known.path, urgent, known.signal)
  Object.assign(known, { before: known.used, used, countedAt: Date.now(), cost: Date.now() - start, freeThen: free })
}

const grown = ({ used = 0, before = used }: Known): number => used - before

/** The one that writes most; those that write nothing take nothing away. */
const fastest = (watched: Iterable<Known>): Known | undefined =>
  [...watched].filter((known) => grown(known) > SMALL).sort((a, b) => grown(b) - grown(a))[0]

/** Without a quota one count is enough, to know later who has written; a run that is over soon needs none. */
const isDueOnce = ({ used, since }: Known): boolean => used === undefined && Date.now() - since >= LATEST_MS

/** Less than this is nothing: who writes in blocks of usual size was refused. */
const NOTHING = 64 * 1024

/** The file system that holds a workspace by itself: its own, and not larger than the quota. */
const holderOf = async (
  path: string,
  { root, probe, hard, quotaBytes = 0 }: Options,
): Promise<OwnSpace | undefined> => {
  const own = hard ? await probe.own(path, root) : undefined
  return own && own.total <= quotaBytes ? own : undefined
}

const lookAtQuota = async (watched: Iterable<Known>, { free }: DiskSpace, options: Options): Promise<void> => {
  const { quotaBytes: quota = Infinity, probe } = options
  for (const known of watched) {
    const own = await holderOf(known.path, options)
    if (own) {
      if (own.free < NOTHING || own.freeFiles === 0) known.end(diskFull(own.total, known.workspace_id))
      continue
    }
    const due = quota === Infinity ? isDueOnce(known) : isDue(known, { free, now: Date.now(), quota })
    if (known.signal.aborted || !due) continue
    await count(known, free, probe)
    if ((known.used ?? 0) > quota) known.end(overQuota(known.used ?? 0, quota, known.workspace_id))
  }
}

/** What is really kept free on this file system. */
export const reserveOn = ({ total }: DiskSpace, reserveBytes: number): number =>
  Math.min(reserveBytes, total / RESERVE_PART)

/** One run at a time ends for a full disk: the one that writes most between two looks. New ones are not begun. */
const lookAtReserve = async (watched: ReadonlySet<Known>, space: DiskSpace, options: Options): Promise<void> => {
  const reserve = reserveOn(space, options.reserveBytes)
  const isShort = space.free < reserve
  for (const known of [...watched]) {
    if (isShort && known.starting && !known.seen) known.end(diskShort(space, reserve, known.workspace_id))
    known.seen = true
    if (isShort && !known.signal.aborted) await count(known, space.free, options.probe, true)
  }
  const one = isShort ? fastest(watched) : undefined
  one?.end(diskShort(space, reserve, one.workspace_id))
}

/** The same trouble comes with every look: it is logged once a minute. A count that was given up is none. */
const createComplaint = (log: Options['log']) => {
  let saidAt = 0
  return (error: unknown) => {
    if ((error as Error).name === 'AbortError' || Date.now() - saidAt < 60_000) return
    saidAt = Date.now()
    log.warn({ err: error }, 'the disk of the workspaces cannot be looked at: quota and reserve are not watched')
  }
}

/** Looks while anything is watched, and never two looks at once. */
const startLooking = (watched: ReadonlySet<Known>, options: Options): { wake(): void } => {
  const complain = createComplaint(options.log)
  let looking = false
  const loop = async () => {
    while (watched.size > 0) {
      try {
        const space = await options.probe.space(options.root)
        await lookAtReserve(watched, space, options)
        await lookAtQuota([...watched], space, options)
      } catch (error) {
        complain(error)
      }
      await sleep(options.lookMs ?? LOOK_MS, undefined, { ref: false })
    }
    looking = false
  }
  return {
    wake() {
      if (looking) return
      looking = true
      void loop()
    },
  }
}

export const createDiskGuard = (options: Options): DiskGuard => {
  const watched = new Set<Known>()
  const { wake } = startLooking(watched, options)
  const { quotaBytes } = options
  return {
    async quotaOf(path) {
      if (quotaBytes === undefined) return { kind: 'none' }
      const own = await holderOf(path, options)
      return own ? { kind: 'hard', bytes: own.total } : { kind: 'soft', bytes: quotaBytes }
    },
    watch(workspace, signal) {
      const { promise, resolve, reject } = Promise.withResolvers<Verdict>()
      const unknown = {
        used: undefined,
        before: undefined,
        countedAt: 0,
        cost: 0,
        freeThen: 0,
        seen: false,
        since: Date.now(),
      }
      const known: Known = {
        ...workspace,
        ...unknown,
        signal,
        end(error) {
          watched.delete(known)
          resolve({ kind: 'end', cause: 'disk_full', error })
        },
      }
      const leave = () => {
        watched.delete(known)
        reject(signal.reason)
      }
      if (signal.aborted) leave()
      else {
        signal.addEventListener('abort', leave, { once: true })
        watched.add(known)
        wake()
      }
      return promise
    },
  }
}
