import type { QueueJob } from '#contracts/job.ts'
import type { Run } from '#contracts/run.ts'
import type { ActiveRun } from '#store/run-line.ts'
import type { RunPatch } from '#store/run-store.ts'
import { admit, type Limits } from './admission.ts'
import { askFree } from './look-ahead.ts'
import { createMemoryRoom, type MemoryRoom } from './memory-room.ts'
import { pause } from './patience.ts'
import { placesOf } from './places.ts'
import { createSemaphore } from './semaphore.ts'
import { type Asked, isStale, type TakeUp, takeUp, takeUpRun } from './take-up.ts'
import type { WorkerContext } from './worker-context.ts'

/** Between two looks of a worker that may not start anything, milliseconds. */
const LOOK_MS = 500

/** The first waiting runs of a tenant that are tried in one look; others may wait for an older container of theirs. */
const CANDIDATES = 8

/** Looks in a row that lost their run or permit to another worker before the job is handed back. */
const RACES = 10

export type ChooseRun = {
  /** A job is in hand from now on, until this is disposed. */
  place(): Disposable
  /** The run to work on for this job, taken up and in `ctx.held`. Rejects when `signal` aborts. */
  choose(job: QueueJob, signal: AbortSignal): Promise<TakeUp>
  /** A run of this worker has ended: who waits looks again at once. */
  changed(): void
}

/** What was read already of a run that is tried. */
type Known = { readonly run: Run; readonly asked: Asked }

type Self = {
  readonly ctx: WorkerContext
  readonly room: MemoryRoom
  /** By tenant that waits: the number of the turn it was last served in, by this worker. */
  readonly served: Map<string, number>
  turn: number
  /** Jobs in hand. */
  inHand: number
  /** Those of them for which nothing could start at once. */
  inLine: number
  /**
   * When a job had to wait last, as far as this worker knows: all its places were taken, or nothing might start. Milliseconds
   * since 1970.
   */
  crowded: number
  /** Waiting runs that could not start, and until when there is no use in asking. */
  readonly putOff: Map<string, number>
}

const limitsOf = ({ config: { maxRunning, maxRunningPerTenant } }: WorkerContext): Limits => ({
  ...(maxRunning !== undefined && { running: maxRunning }),
  ...(maxRunningPerTenant !== undefined && { runningPerTenant: maxRunningPerTenant }),
})

const hasPermits = ({ config }: WorkerContext): boolean =>
  config.maxRunning !== undefined || config.maxRunningPerTenant !== undefined

/** Takes a run up for a handler of this process; no other one of it has the run then, or is about to. */
const tryTake = async ({ ctx }: Self, runId: string, take: () => Promise<TakeUp>): Promise<TakeUp> => {
  if (ctx.held.has(runId)) return { kind: 'not', outcome: { kind: 'later', delayMs: ctx.config.timings.heartbeat } }
  ctx.held.add(runId)
  let taken: TakeUp | undefined
  try {
    taken = await take()
    return taken
  } finally {
    if (taken?.kind !== 'taken') ctx.held.delete(runId)
  }
}

/** Takes a waiting run up, with what it holds while it is at work; `undefined` where its container would not fit. */
const tryStart = (self: Self, runId: string, permits: RunPatch = {}, known?: Known): Promise<TakeUp | undefined> => {
  const { ctx, room } = self
  const take = { memory_bytes: ctx.config.limits.memoryBytes, ...permits }
  const work = () => (known === undefined ? takeUp(ctx, runId, take) : takeUpRun(ctx, known.run, take, known.asked))
  return room.within(() => tryTake(self, runId, work))
}

/** A run on this engine whose owner is dead: it is at work already, so that no limit holds it back. */
const adopt = async (self: Self, active: readonly ActiveRun[]): Promise<TakeUp | undefined> => {
  const { ctx } = self
  for (const run of active) {
    if (run.state === 'finished' || run.engine_id !== ctx.engineId) continue
    if (ctx.held.has(run.run_id) || !isStale(ctx, run)) continue
    const taken = await tryTake(self, run.run_id, () => takeUp(ctx, run.run_id))
    if (taken.kind === 'taken') return taken
  }
  return undefined
}

/** The waiting runs of a tenant that may be tried now, in its order. */
const candidates = async ({ ctx, putOff }: Self, tenantId: string): Promise<string[]> => {
  const now = Date.now()
  for (const [id, until] of putOff) if (until <= now) putOff.delete(id)
  const first = await ctx.store.runs.firstWaiting(tenantId, CANDIDATES + putOff.size)
  return first.filter((id) => !putOff.has(id) && !ctx.held.has(id))
}

/** What one look at all that waits and all that works came to. */
type Found =
  | TakeUp
  /** Another worker was quicker: it is worth looking again at once. */
  | 'raced'
  /** Runs wait, and none of them may start now. */
  | 'full'
  | 'nothing waits'

const look = async (self: Self): Promise<Found> => {
  const { ctx, served, putOff } = self
  const [active, waiting] = await Promise.all([ctx.store.runs.active(), ctx.store.runs.waitingTenants()])
  const adopted = await adopt(self, active)
  if (adopted !== undefined) return adopted
  if (waiting.length === 0) return 'nothing waits'
  const waits = new Set(waiting)
  for (const tenant of served.keys()) if (!waits.has(tenant)) served.delete(tenant)
  const admission = admit(waiting, active, served, limitsOf(ctx))
  for (const tenant of admission.tenants) {
    for (const runId of await candidates(self, tenant)) {
      const taken = await tryStart(self, runId, admission.take(tenant))
      if (taken === undefined) return 'full'
      if (taken.kind === 'taken') {
        served.set(tenant, ++self.turn)
        return taken
      }
      if (taken.raced) return 'raced'
      if (taken.outcome.kind === 'later') putOff.set(runId, Date.now() + taken.outcome.delayMs)
    }
  }
  return 'full'
}

/**
 * With nobody before it and no limit in its way the job's own run starts without a look around, and many of them at once. The queue is
 * first in, first out: for a run that came when this worker had a place already, and has had one since, no other waits.
 */
const tryFresh = async (self: Self, known: Known): Promise<TakeUp | undefined> => {
  const { run_id, created_at } = known.run
  if (hasPermits(self.ctx) || created_at.getTime() <= self.crowded) return undefined
  const taken = await tryStart(self, run_id, {}, known)
  if (taken === undefined) self.crowded = Date.now()
  return taken?.kind === 'taken' ? taken : undefined
}

/** What is in the way of the job's own run, asked before its document is there, where the job says enough. */
const askAhead = ({ ctx, inLine }: Self, job: QueueJob): Asked => {
  const { run_id, session_id, tenant_id, workspace_id } = job
  if (tenant_id === undefined || workspace_id === undefined || hasPermits(ctx) || inLine > 0) return {}
  const run = { run_id, session_id, tenant_id, workspace_id }
  const blockers = ctx.store.runs.blockers(run)
  // Whoever takes the run up meets it; often nobody does.
  blockers.catch(() => {})
  return { blockers, isFree: askFree(ctx, run) }
}

const isOf = (job: QueueJob, run: Run | undefined): boolean =>
  job.session_id === run?.session_id && job.tenant_id === run.tenant_id && job.workspace_id === run.workspace_id

/**
 * Which run a worker works on when it is offered a job. A job is a hint that there is work, and any hint does for any run: the
 * run is chosen from the documents, by fair turns between tenants and within the limits (docs/adr/0021-line-in-the-run-documents.md).
 * A worker that may start nothing keeps the job in hand and looks again, for a heartbeat at most; then another may have it.
 */
export const createChooseRun = (ctx: WorkerContext): ChooseRun => {
  const room = createMemoryRoom(ctx)
  const self: Self = {
    ctx,
    room,
    served: new Map(),
    turn: 0,
    inHand: 0,
    inLine: 0,
    crowded: Date.now(),
    putOff: new Map(),
  }
  const places = placesOf(ctx.config)
  const turns = createSemaphore(1)
  const { heartbeat } = ctx.config.timings
  const lookMs = Math.min(LOOK_MS, heartbeat)
  let bell = Promise.withResolvers<void>()
  const changed = () => {
    bell.resolve()
    bell = Promise.withResolvers()
  }

  const rungOr = async (rung: Promise<void>, ms: number, signal: AbortSignal): Promise<void> => {
    const scope = new AbortController()
    await Promise.race([rung, pause(ms, AbortSignal.any([signal, scope.signal]))]).finally(() => scope.abort())
  }

  /** The job's own run, where it is not waiting: mostly over, or at work for another job. */
  const own = async (job: QueueJob, run: Run | undefined, asked?: Asked): Promise<TakeUp> => {
    if (run?.state === 'queued') return { kind: 'not', outcome: { kind: 'later', delayMs: lookMs } }
    return tryTake(self, job.run_id, () => takeUpRun(ctx, run, {}, asked))
  }

  const chooseInTurn = async (job: QueueJob, signal: AbortSignal): Promise<TakeUp> => {
    using _turn = await turns.acquire(signal)
    const end = Date.now() + heartbeat
    for (let races = 0; ; ) {
      const rung = bell.promise
      const found = await look(self)
      if (typeof found !== 'string') return found
      if (found === 'raced' && races++ < RACES) continue
      if (found === 'full') self.crowded = Date.now()
      if (found !== 'full' || Date.now() >= end) return own(job, await ctx.store.runs.get(job.run_id))
      await rungOr(rung, lookMs, signal)
    }
  }

  return {
    place() {
      self.inHand += 1
      return {
        [Symbol.dispose]() {
          if (self.inHand >= places) self.crowded = Date.now()
          self.inHand -= 1
        },
      }
    },
    async choose(job, signal) {
      // All at once: a run that starts without a look around must not wait three times.
      const early = askAhead(self, job)
      const [run] = await Promise.all([ctx.store.runs.get(job.run_id), room.refresh()])
      // A job is a hint: what is believed of it is what the document says.
      const asked = isOf(job, run) ? early : {}
      const taken = run?.state === 'queued' ? await tryFresh(self, { run, asked }) : await own(job, run, asked)
      if (taken?.kind === 'taken') return taken
      // Whose turn it is may be waiting for nothing but this.
      changed()
      self.inLine += 1
      return chooseInTurn(job, signal).finally(() => {
        self.inLine -= 1
      })
    },
    changed,
  }
}
