import type { Attestation } from './attestation.ts'
import type { Cause, RunStatus } from './causes.ts'
import type { EgressText } from './egress.ts'
import type { Framework } from './frameworks.ts'

/** `queued → starting → running → finished`; a queued run that is ended passes through `starting` too. */
export type RunState = 'queued' | 'starting' | 'running' | 'finished'

/** Which of its own waiting runs a tenant wants first; between tenants the order is fair, whatever they say here. */
export const PRIORITIES = ['low', 'normal', 'high'] as const
export type Priority = (typeof PRIORITIES)[number]

/** What a client may ask of one run. Absent = the installation's default. */
export type RunOptions = {
  readonly model?: string | undefined
  readonly timeout_seconds?: number | undefined
  readonly max_steps?: number | undefined
  readonly max_cost_usd?: number | undefined
  /** Where its commands may connect to, as `parseEgress` reads it; it can only narrow the installation's policy. */
  readonly egress?: string | readonly string[] | undefined
  readonly priority?: Priority | undefined
}

/** How the container ended, read from the engine before it is removed. */
export type SandboxExit = {
  readonly code: number | null
  /** `lost`: the engine knows no such container any more; `killed`: a signal, not the kernel's OOM killer. */
  readonly reason: 'exited' | 'oom' | 'killed' | 'lost'
  /** What the engine knows beyond that, in its own words. */
  readonly detail?: string
  /** `lost`, and nobody has seen it end: it may go on behind a partition. */
  readonly unproven?: true
}

/** Kept with the run and as the queue job's return value. */
export type RunResult = {
  readonly session_id: string
  readonly run_id: string
  readonly status: RunStatus
  readonly cause: Cause
  readonly error?: string
  readonly elapsed_seconds: number
  readonly container_exit_code?: number
}

/** Which of the installation's images a run's container is made of. */
export type RunImage = { readonly name: string; readonly track: 'stable' | 'canary' }

/**
 * The run document: the centre of mgx. Stored = accepted. Every change is one compare-and-set on
 * `{run_id, attempt, state}`, so that an owner who slept changes nothing.
 */
export type Run = {
  readonly run_id: string
  readonly tenant_id: string
  readonly session_id: string
  readonly workspace_id: string
  readonly framework: Framework
  readonly prompt: string
  readonly metadata?: Readonly<Record<string, unknown>>
  readonly options: RunOptions
  readonly v: 1

  readonly state: RunState
  /** How often the run was taken up. */
  readonly attempt: number
  /** True while the run holds its session and its workspace; at most one such run each, by unique index. */
  readonly lock: boolean
  readonly idempotency_key?: string
  /** SHA-256 of the body, hex: the same key with another body is refused. */
  readonly idempotency_hash?: string

  readonly created_at: Date
  /** A run that nobody has taken up by then ends as `queue_timeout`. */
  readonly queue_deadline_at: Date
  /** Its place among its tenant's waiting runs: when it came, moved by its priority. */
  readonly turn_at: Date
  /** Set at the first take-up, never moved. */
  readonly started_at?: Date
  readonly deadline_at?: Date
  readonly finished_at?: Date

  /** The process that took the run up, and when it last said so. */
  readonly owner?: string
  readonly seen_at?: Date
  /** The daemon or cluster that holds the container. */
  readonly engine_id?: string
  readonly container_id?: string
  /** Which of the installation's, and of its tenant's, numbered permits to run it holds, where there are limits; null = given back. */
  readonly permit?: number | null
  readonly tenant_permit?: number | null
  /** Chosen at the first take-up, for every container that the run may get; absent where agents are no containers. */
  readonly image?: RunImage
  /** The memory limit of its container. */
  readonly memory_bytes?: number
  /** True once the engine has said that no container of this run exists (or none was ever asked for). */
  readonly container_gone: boolean
  /** Until then nothing else starts on this workspace: set when a container was lost without proof of death. */
  readonly quarantine_until?: Date
  /** How often the container was started anew because no job line had arrived: 0 or 1. */
  readonly restarts: number
  /** SHA-256 of the run's gateway token, hex. */
  readonly token_hash?: string
  /** The egress policy in force, set at each take-up. `enforced`: the container has no other way out. */
  readonly egress?: { readonly allow: EgressText; readonly enforced: boolean }

  readonly attestation?: Attestation
  readonly exit?: SandboxExit
  readonly result?: RunResult
}

/** What `accept` is given; the rest of the document follows from it. */
export type NewRun = Pick<
  Run,
  | 'run_id'
  | 'tenant_id'
  | 'session_id'
  | 'workspace_id'
  | 'framework'
  | 'prompt'
  | 'metadata'
  | 'options'
  | 'created_at'
  | 'queue_deadline_at'
  | 'idempotency_key'
  | 'idempotency_hash'
>

/** What a gateway must know of a run to serve it. */
export type GatewayRun = Pick<Run, 'run_id' | 'tenant_id' | 'session_id' | 'workspace_id' | 'options' | 'token_hash'>

/** A session: a conversation on one workspace, of one framework for ever. */
export type Session = {
  readonly session_id: string
  readonly tenant_id: string
  readonly workspace_id: string
  readonly framework: Framework
  readonly created_at: Date
  readonly v: 1
}

/** The texts of a result's `error` that the user's documents fix. */
export const RESULT_TEXT = {
  startFailed: (reason: string) => `Failed to create or monitor agent container: ${reason}`,
  timeout: (seconds: number) => `Agent task timeout after ${seconds} seconds`,
  exitedWithoutFinish: (code: number | null) => `Container exited with code ${code ?? 'unknown'} without FINISH event`,
} as const
