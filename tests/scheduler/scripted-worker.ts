import { pino } from 'pino'
import { jobOf } from '#contracts/job.ts'
import type { Run } from '#contracts/run.ts'
import type { JobQueue } from '#queue/job-queue.ts'
import { createClaims } from '#scheduler/claims.ts'
import type { SandboxEngine } from '#scheduler/engines/engine.ts'
import { type Reconciled, reconcile } from '#scheduler/reconcile.ts'
import { createRunHandler } from '#scheduler/run-session.ts'
import { openWarmPool, type WarmPool } from '#scheduler/warm-pool.ts'
import { startWorker } from '#scheduler/worker.ts'
import type { Timings, WorkerConfig, WorkerContext } from '#scheduler/worker-context.ts'
import { createFollower } from '#store/follow.ts'
import type { Store } from '#store/store.ts'
import type { ScriptedEngine } from '../fakes/scripted-engine.ts'
import { createScriptedProcess, type ScriptedProcess } from '../fakes/scripted-process.ts'
import type { ScriptedQueue } from '../fakes/scripted-queue.ts'
import { scriptedStore } from '../fakes/scripted-store.ts'
import { waitFor } from '../helpers.ts'

/** Short, yet far enough apart that a busy machine does not mistake a slow owner for a dead one: see `World.forget`. */
export const TIMINGS: Timings = {
  heartbeat: 25,
  stale: 3_000,
  stopGrace: 60,
  exitGrace: 60,
  handOff: 3_000,
  enginePatience: 150,
  reconcile: 40,
  reconcileGrace: 0,
  engineLost: 3_000,
  quarantine: 3_000,
}

/** A worker of its own process; it does nothing until it is told to. */
export type ScriptedWorker = {
  readonly ctx: WorkerContext
  readonly process: ScriptedProcess
  /** Opens a pool of so many slots, and waits until they are ready. Before `start` and `consume`. */
  warm(size: number): Promise<WarmPool>
  /** Consumes and reconciles. */
  start(): void
  /** Consumes only: nothing but what the test asks for is mended. */
  consume(): void
  /** SIGTERM. */
  stop(): Promise<void>
  /** SIGKILL: nothing of it happens any more, and the queue offers its jobs again. */
  die(): void
  /** It slept past its queue's lock: the jobs it holds are offered to others. */
  expire(): void
  reconcile(): Promise<Reconciled>
  /** One job, by hand. */
  handle(run: Run): ReturnType<ReturnType<typeof createRunHandler>>
}

export type WorkerOptions = {
  readonly engine?: ScriptedEngine
  readonly config?: Partial<WorkerConfig>
  readonly timings?: Partial<Timings>
  readonly gateway?: WorkerContext['gateway']
  /** Nothing wakes its follower: what is in the log it learns when it looks by itself. */
  readonly deaf?: boolean
}

const silent = pino({ level: 'silent' })

const configOf = (root: string, { config, timings }: WorkerOptions): WorkerConfig => ({
  installation: 'test',
  concurrency: 4,
  image: 'mgx:test',
  user: `${process.getuid?.() ?? 1000}:${process.getgid?.() ?? 1000}`,
  network: 'bridge',
  egress: [{ kind: 'any' }],
  extraHosts: [],
  limits: { memoryBytes: 1, cpuQuota: 1, pids: 1, tmpBytes: 1 },
  disk: { reserveBytes: 0 },
  workspacesRoot: root,
  hostWorkspacesRoot: root,
  taskTimeoutSeconds: 1800,
  maxSteps: 5,
  model: 'scripted',
  channel: { kind: 'direct', mongodbUrl: 'mongodb://nowhere', mongodbDb: 'mgx', openaiApiKey: 'none' },
  reconcileDryRun: false,
  warmPoolSize: 0,
  ...config,
  timings: { ...TIMINGS, ...timings },
})

/** What all workers of a test share. */
export type Shared = {
  readonly store: Store
  readonly queue: JobQueue & Partial<Pick<ScriptedQueue, 'abandon'>>
  readonly engine: ScriptedEngine
  readonly engineId: string
  readonly root: string
  readonly name: string
}

/** The engine as this process sees it, with the slots that it starts. */
const engineOf = (self: ScriptedProcess, engine: ScriptedEngine): SandboxEngine => {
  const { warm } = engine
  if (warm === undefined) return self.port('engine', engine)
  const seen = self.port('warm', warm)
  const startSlot: typeof warm.startSlot = async (...args) => self.port('slot', await seen.startSlot(...args))
  const { key, isFree, slots, removeSlot, memoryBytes } = seen
  return self.port('engine', { ...engine, warm: { key, isFree, slots, removeSlot, memoryBytes, startSlot } })
}

const contextOf = (shared: Shared, self: ScriptedProcess, options: WorkerOptions): WorkerContext => {
  const { store, queue, engine, engineId, root, name } = shared
  const own = scriptedStore(store, self)
  return {
    store: own,
    follower: options.deaf
      ? createFollower({ ...own.events, changes: async function* () {} }, { pollMs: 60_000 })
      : createFollower(own.events, { pollMs: 100 }),
    queue: self.port('queue', queue),
    engine: engineOf(self, options.engine ?? engine),
    engineId: options.engine === undefined ? engineId : `engine-of-${name}`,
    ...(options.gateway && { gateway: options.gateway }),
    log: silent,
    config: configOf(root, options),
    owner: name,
    held: new Set(),
    claims: createClaims(root),
  }
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] }

/** Disposing cuts it short as a crash would, and leaves nothing of it behind. */
export const createScriptedWorker = (shared: Shared, options: WorkerOptions): ScriptedWorker & AsyncDisposable => {
  const self = createScriptedProcess()
  const ctx: Mutable<WorkerContext> = contextOf(shared, self, options)
  const handler = createRunHandler(ctx)
  const byHand = new Set<Promise<unknown>>()
  const stop = new AbortController()
  const running: AsyncDisposable[] = []
  let consumer: AsyncDisposable | undefined

  const consume: JobQueue['consume'] = (handle, { concurrency }) => {
    consumer = shared.queue.consume(handle, { concurrency })
    return consumer
  }
  const note = <T>(work: Promise<T>): Promise<T> => {
    byHand.add(work)
    work.catch(() => {}).finally(() => byHand.delete(work))
    return work
  }
  const end = async () => {
    stop.abort()
    await Promise.all(running.splice(0).map((one) => one[Symbol.asyncDispose]()))
    await Promise.allSettled(byHand)
  }
  const abandon = () => {
    if (consumer) shared.queue.abandon?.(consumer)
  }
  return {
    ctx,
    process: self,
    async warm(size) {
      const {
        engine: { warm },
      } = ctx
      if (warm === undefined) throw new Error('this engine has no slots')
      const config = { ...ctx.config, warmPoolSize: size }
      const pool = await openWarmPool({ warm, engineId: ctx.engineId, config, log: silent })
      running.push(pool)
      ctx.pool = pool
      await waitFor(async () => pool.stats().ready === size, { what: 'the pool to be full' })
      return pool
    },
    start: () => void running.push(startWorker({ ...ctx, queue: { ...ctx.queue, consume } })),
    consume: () => void running.push(consume(handler, ctx.config)),
    stop: end,
    die() {
      self.die()
      abandon()
    },
    expire: abandon,
    reconcile: () => note(reconcile(ctx)),
    handle: (run) => note(handler(jobOf(run), stop.signal)),
    async [Symbol.asyncDispose]() {
      self.bury()
      await end()
      await ctx.follower[Symbol.asyncDispose]()
    },
  }
}
