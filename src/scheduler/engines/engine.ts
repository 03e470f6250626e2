import type { StartFailure } from '#contracts/causes.ts'
import type { SandboxExit } from '#contracts/run.ts'
import type { KernelTexts } from './kernel-files.ts'
import type { WarmEngine } from './warm-engine.ts'

/** Which container: the name is resolved, the run label checked, and every call made on the immutable container id. */
export type SandboxRef = { readonly session_id: string; readonly run_id: string }

export type SandboxLimits = {
  /** Memory and swap together, bytes. */
  readonly memoryBytes: number
  /** Microseconds of CPU per 100 000 (100000 = one core). */
  readonly cpuQuota: number
  readonly pids: number
  /** Size of /tmp, and of HOME likewise, bytes: both lie in memory and count towards `memoryBytes`. */
  readonly tmpBytes: number
}

/** Everything an engine needs to start one agent container; data only, made by `sandboxSpec` (pure). */
export type SandboxSpec = SandboxRef & {
  readonly tenant_id: string
  readonly workspace_id: string
  readonly name: string
  readonly image: string
  /** `uid:gid`, numeric. */
  readonly user: string
  /** The workspace as this process sees it, and as the engine's host sees it. */
  readonly workspace: { readonly path: string; readonly hostPath: string }
  /** The directory of this run's gateway socket, likewise; absent over TCP, and in the direct channel on an open network. */
  readonly gatewayDir?: { readonly path: string; readonly hostPath: string }
  /** The harmless part: anything in the container can read it. */
  readonly env: Readonly<Record<string, string>>
  readonly network: string
  readonly limits: SandboxLimits
  readonly labels: Readonly<Record<string, string>>
  /** Hosts to add to /etc/hosts as `name:ip` (`host-gateway` for the machine itself). */
  readonly extraHosts: readonly string[]
}

export type SandboxInfo = SandboxRef & {
  readonly containerId: string
  readonly workspace_id: string
  readonly running: boolean
  /** False: created and never started (yet): its creator is between the two, or died there. */
  readonly started: boolean
  readonly createdAt: Date
  /** The slot that was claimed for the run, where its container was started ahead. */
  readonly slot?: string
}

export type StartResult = {
  readonly containerId: string
  /** The run's container was there already: no job line was written. */
  readonly adopted: boolean
}

/** What holds a container, read from kernel and engine and never from what was asked. `nothing`: this engine isolates nothing. */
export type SandboxFacts =
  | { readonly kind: 'nothing'; readonly containerId: string }
  | {
      readonly kind: 'container'
      readonly containerId: string
      readonly imageId: string
      readonly networks: readonly string[]
      /** Namespaces of the machine that it is in, instead of its own. */
      readonly sharedNamespaces: readonly string[]
      /** Who read the files: this process on the engine's machine, or a command in the container. */
      readonly source: 'host' | 'exec'
      readonly texts: KernelTexts
    }

/** Why an engine cannot do what it was asked, with the cause the run ends with and what an operator can do about it. */
export class EngineError extends Error {
  readonly failure: StartFailure
  readonly remediation: string
  constructor(failure: StartFailure, message: string, remediation: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'EngineError'
    this.failure = failure
    this.remediation = remediation
  }
}

/**
 * Port: what can start and stop agent containers: docker, process, kubernetes. Addressed by session and run, so a
 * worker that restarted needs no handle.
 *
 * `engineId`: this daemon or cluster; the same for every worker of it, and after its restart.
 * `check`: rejects (`EngineError`) with the reason it cannot run here and what to do.
 * `start`: creates and starts the container, then writes `jobLine(containerId)` to its standard input and closes that.
 *   The run's own container is there already = adopt it (nothing is created or written). While a container of *another* run of
 *   this session or this workspace (by label) exists it waits for its removal, which is its owner's business, until
 *   `signal` aborts. The run's own container that was created and not started for 5 s (its creator died) is replaced.
 *   Rejects with `EngineError`, or with `signal.reason`, having left nothing behind as far as the engine answers.
 * `find`: the run's container, or `undefined`; rejects with `engine_unavailable` when the engine does not answer.
 * `logs`: stdout and stderr as they come, from the first byte, until exit or `signal` (ends quietly); a slow reader slows
 *   the reading. The same bytes in the same order when read again. Nothing for an unknown run. When the connection breaks it
 *   rejects with `engine_unavailable` (read again from the first byte), or goes on by itself where it was.
 * `wait`: how it ended, as a value; `lost` when the engine knows it no more, or nobody has started it in time; `unproven` with
 *   it where that is no proof of its death: its node does not answer, or it vanished.
 *   Rejects when the engine does not answer (`engine_unavailable`) or `signal` aborts (`signal.reason`).
 * `stop`: TERM, `graceMs` (where the engine fixes that at the start: what it was then), KILL. Resolves when it is not running
 *   any more, as far as can be known. Repeatable; unknown run = nothing.
 * `remove`: with everything the engine made for it, running or not. Repeatable; unknown run = nothing. With
 *   `containerId`, only that very container.
 * `leadsNowhere`: true when containers on that network reach nothing beyond it; absent = this engine cannot tell.
 * `attest`: what holds the run's container now; nothing for an unknown run, or one that does not run.
 * `list`: every agent container of this installation, running or not.
 * A call that the engine does not answer in time rejects with `engine_unavailable`.
 * None of them touches a container of another run, whatever its name.
 */
export interface SandboxEngine {
  readonly name: string
  /** True when the runner sees this machine's own paths (no mounts): socket paths in the job line are then real ones. */
  readonly sharesPaths: boolean
  /** Where containers can be started ahead. */
  readonly warm?: WarmEngine
  engineId(): Promise<string>
  check(): Promise<void>
  leadsNowhere?(network: string): Promise<boolean>
  start(spec: SandboxSpec, jobLine: (containerId: string) => string, signal: AbortSignal): Promise<StartResult>
  find(ref: SandboxRef): Promise<SandboxInfo | undefined>
  logs(ref: SandboxRef, signal: AbortSignal): AsyncIterable<Uint8Array>
  wait(ref: SandboxRef, signal: AbortSignal): Promise<SandboxExit>
  stop(ref: SandboxRef, graceMs: number): Promise<void>
  remove(ref: SandboxRef, containerId?: string): Promise<void>
  attest(ref: SandboxRef): Promise<SandboxFacts | undefined>
  list(): Promise<SandboxInfo[]>
}
