import type { SandboxSpec } from './engine.ts'

/** A container that is started before there is a run for it. Everything but its names is as a run's own would be. */
export type SlotSpec = Omit<SandboxSpec, 'session_id' | 'run_id' | 'workspace_id' | 'tenant_id'> & {
  /** Never used again. */
  readonly slot: string
  /** Mounted beside /workspace, which is a link to `workspace` in it: see slot-paths.ts. */
  readonly workspace: { readonly path: string; readonly hostPath: string }
  /** What its runner loads ahead. */
  readonly channel: 'gateway' | 'direct'
}

/** A slot that is ready: its runner has loaded everything and waits for its job line. */
export type WarmSlot = {
  readonly slot: string
  readonly containerId: string
  /** Image and options it was started with: equal to `WarmEngine.key` of a run that may have it. */
  readonly key: string
  /** Aborts when its container has ended, or can no longer be told anything. */
  readonly gone: AbortSignal
  /** Writes the job line and lets go; once. Rejects when it cannot be written: the container may have read it or not. */
  tell(line: string): Promise<void>
  /** Gives the container a name; only for people. */
  rename(name: string): Promise<void>
  /** Ends and removes the container. Resolves when it is gone, rejects when the engine does not say so. */
  discard(): Promise<void>
}

export type SlotInfo = {
  readonly slot: string
  readonly containerId: string
  readonly running: boolean
  readonly createdAt: Date
}

/** By what other runs may be in the way of one. */
export type RunNames = Pick<SandboxSpec, 'session_id' | 'run_id' | 'workspace_id'>

/**
 * What an engine can do besides, for a pool of containers that are started ahead. A slot that has a claim (claims.ts) is the
 * container of that run for every call of `SandboxEngine`; one that has none is known here only. When whoever started a slot
 * dies before it told it anything, the slot's runner leaves by itself.
 *
 * `memoryBytes`: of the machine that the containers run on.
 * `key`: what a slot for this spec must have been started with. Rejects with `image_missing` when there is no such image.
 * `isFree`: no container of another run of this session or workspace is there.
 * `startSlot`: resolves when it is ready. Gives way to starts of runs. Rejects with `EngineError` or `signal.reason`, having
 *   left nothing behind as far as the engine answers.
 * `slots`: every slot of this installation, claimed or not, running or not.
 * `removeSlot`: running or not. Repeatable; unknown slot = nothing.
 */
export interface WarmEngine {
  memoryBytes(): Promise<number>
  key(spec: SandboxSpec | SlotSpec): Promise<string>
  isFree(run: RunNames): Promise<boolean>
  startSlot(spec: SlotSpec, signal: AbortSignal): Promise<WarmSlot>
  slots(): Promise<SlotInfo[]>
  removeSlot(slot: string): Promise<void>
}
