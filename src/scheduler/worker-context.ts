import type { Logger } from 'pino'
import type { EgressPolicy } from '#contracts/egress.ts'
import type { ModelPrices } from '#contracts/prices.ts'
import type { Run } from '#contracts/run.ts'
import type { JobQueue } from '#queue/job-queue.ts'
import type { Follower } from '#store/follow.ts'
import type { Store } from '#store/store.ts'
import type { Claims } from './claims.ts'
import type { DiskGuard, DiskLimits } from './disk-guard.ts'
import type { SandboxEngine, SandboxLimits } from './engines/engine.ts'
import type { WarmPool } from './warm-pool.ts'

/** How long things may take, milliseconds. The defaults are `DEFAULT_TIMINGS`. */
export type Timings = {
  /** Between two signs of life of an owner. */
  readonly heartbeat: number
  /** An owner silent for longer is taken for dead: above the queue's lock (10 s) plus its check (5 s). */
  readonly stale: number
  /** From TERM to KILL. */
  readonly stopGrace: number
  /** A runner that wrote its own `finish` may take this long to leave before it is stopped. */
  readonly exitGrace: number
  /** A runner that was started ahead must have begun so long after it got its job line. */
  readonly handOff: number
  /** How long an engine that does not answer is asked again before the run goes on without it. */
  readonly enginePatience: number
  readonly reconcile: number
  /** Reconcile leaves alone what is younger: without a grace it and the workers outbid each other's `attempt`. */
  readonly reconcileGrace: number
  /** An engine without a worker for this long is lost, and its runs with it. */
  readonly engineLost: number
  /** After a loss without proof of death: longer than a runner lives that cannot store (5 minutes). */
  readonly quarantine: number
}

export const DEFAULT_TIMINGS: Timings = {
  heartbeat: 3_000,
  stale: 16_000,
  stopGrace: 10_000,
  exitGrace: 3_000,
  handOff: 10_000,
  enginePatience: 60_000,
  reconcile: 10_000,
  reconcileGrace: 15_000,
  engineLost: 300_000,
  quarantine: 360_000,
}

/** How the runner reaches the outside. */
export type ChannelConfig =
  | {
      readonly kind: 'gateway'
      /** Set: the runner comes over TCP to this address; else by a unix socket of its run. */
      readonly tcpUrl?: string
    }
  | {
      readonly kind: 'direct'
      readonly mongodbUrl: string
      readonly mongodbDb: string
      readonly openaiApiKey: string
      readonly openaiBaseUrl?: string
      /** The agents' network leads nowhere (see `closedNetwork`): each run has a gateway, for connections only. */
      readonly proxied?: true
    }

export type WorkerConfig = {
  readonly installation: string
  readonly concurrency: number
  readonly image: string
  /** Another image, for this share of the workspaces: more than 0 to 100, percent. */
  readonly canary?: { readonly image: string; readonly weight: number }
  /** `uid:gid`, numeric: who the agent is, and who owns its workspace. */
  readonly user: string
  readonly network: string
  /** Where commands may connect to, at most. */
  readonly egress: EgressPolicy
  readonly extraHosts: readonly string[]
  readonly limits: SandboxLimits
  /** Runs at work in the whole installation, and of one tenant; absent = no limit but the workers' places. */
  readonly maxRunning?: number
  readonly maxRunningPerTenant?: number
  /** Bytes that all containers of the engine may have together, by their limits; absent = not counted. */
  readonly memoryBytes?: number
  readonly disk: DiskLimits
  /** The workspaces as this process sees them, and as the engine's host does. */
  readonly workspacesRoot: string
  readonly hostWorkspacesRoot: string
  readonly taskTimeoutSeconds: number
  readonly maxSteps: number
  readonly model: string
  /** What models cost, as far as the installation knows. */
  readonly prices?: ModelPrices
  readonly channel: ChannelConfig
  readonly timings: Timings
  /** Reconcile only says what it would do. */
  readonly reconcileDryRun: boolean
  /** Containers that are started ahead; 0 = none. */
  readonly warmPoolSize: number
}

/** The gateway as the worker needs it: serves one run until disposed; who may come is checked against `run.token_hash`. */
export type RunGateway = { serve(run: Run, socketPath?: string): Promise<AsyncDisposable> }

/** Port: who keeps figures of what no other port shows. Must not throw. */
export type WorkerMeter = {
  /** A run has its container; `seconds` since its first take-up. */
  started(path: 'warm' | 'cold', seconds: number): void
}

/** What every step of the scheduler is given. */
export type WorkerContext = {
  readonly store: Store
  readonly follower: Pick<Follower, 'follow'> & AsyncDisposable
  readonly queue: JobQueue
  readonly engine: SandboxEngine
  readonly engineId: string
  readonly gateway?: RunGateway
  /** Absent = nobody watches the disk. */
  readonly disk?: DiskGuard
  readonly log: Logger
  readonly config: WorkerConfig
  /** This process, in `run.owner`. */
  readonly owner: string
  /** The runs this process works on now: a doubled job must not give one process two handlers of a run. */
  readonly held: Set<string>
  /** Bytes that containers take which wait for a run: what they use, because a claimed one counts as its run's. */
  readonly warmBytes?: () => number
  /** Which runs the slots under `workspacesRoot` were given to. */
  readonly claims: Claims
  /** Containers that are started ahead, where there are any. */
  readonly pool?: WarmPool
  readonly meter?: WorkerMeter
}

/** Thrown when a compare-and-set fails: somebody else owns the run, and this handler must touch nothing more. */
export class OwnershipLost extends Error {
  constructor(runId: string) {
    super(`run ${runId} is owned by another worker`)
    this.name = 'OwnershipLost'
  }
}
