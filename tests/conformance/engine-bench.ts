import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { StartFailure } from '#contracts/causes.ts'
import { containerName, newRunId } from '#contracts/ids.ts'
import type { SandboxExit } from '#contracts/run.ts'
import { EngineError, type SandboxEngine, type SandboxRef, type SandboxSpec } from '#scheduler/engines/engine.ts'
import type { Step } from './shell-runner.ts'

/** An engine under test, and what the suite needs to know about it. */
export type EngineBench = AsyncDisposable & {
  readonly engine: SandboxEngine
  readonly image: string
  /** Another engine on the same containers: a worker that restarted, a second worker. */
  reopen(): SandboxEngine
  /** The job line that makes a runner of this engine do these steps. */
  line(steps: readonly Step[]): string
  /** What makes the start of an otherwise good spec fail, and with which cause. */
  spoil(spec: SandboxSpec): { readonly spec: SandboxSpec; readonly failure: StartFailure }
  /** Where the claims are that the engine goes by. */
  readonly slotsRoot?: string
  /** A directory that the engine's machines have as well; default: a temporary one. */
  readonly workspaces?: string
  /** How much output the engine keeps whole, where that is less than 5 MB. */
  readonly logBytes?: number
  /** What a container prints right before it ends may be lost by its machine, before any engine could read it. */
  readonly losesLastWords?: boolean
  /** Where the engine can be out of reach. */
  readonly outage?: { begin(): Promise<void>; end(): Promise<void> }
}

/** The suite's engine with a directory for workspaces. */
export type Ground = EngineBench & { newSpec(of?: Partial<SandboxSpec>): Promise<SandboxSpec> }

const MIB = 1024 * 1024

const makeSpec = async (root: string, image: string, of: Partial<SandboxSpec>): Promise<SandboxSpec> => {
  const session_id = of.session_id ?? `s-${randomUUID()}`
  const workspace_id = of.workspace_id ?? `w-${randomUUID()}`
  const path = join(root, workspace_id)
  await mkdir(path, { recursive: true })
  // The runner's user is another one than the test's.
  await chmod(path, 0o777)
  return {
    session_id,
    run_id: newRunId(),
    tenant_id: 'default',
    workspace_id,
    name: containerName(session_id),
    image,
    user: '1000:1000',
    workspace: { path, hostPath: path },
    env: { FRAMEWORK: 'static' },
    network: 'none',
    limits: { memoryBytes: 64 * MIB, cpuQuota: 100_000, pids: 64, tmpBytes: 16 * MIB },
    labels: {},
    extraHosts: [],
    ...of,
  }
}

/** Opens the bench; whatever containers a test leaves are removed with it. */
export const openGround = async (open: () => Promise<EngineBench>): Promise<Ground> => {
  await using stack = new AsyncDisposableStack()
  const bench = stack.use(await open())
  const root = await mkdtemp(join(bench.workspaces ?? tmpdir(), 'mgx-engine-'))
  stack.defer(() => rm(root, { recursive: true, force: true }))
  await chmod(root, 0o755)
  stack.defer(async () => {
    await bench.outage?.end()
    for (const info of await bench.engine.list()) await bench.engine.remove(info)
    for (const { slot } of (await bench.engine.warm?.slots()) ?? []) await bench.engine.warm?.removeSlot(slot)
  })
  const kept = stack.move()
  return {
    ...bench,
    newSpec: (of = {}) => makeSpec(root, bench.image, of),
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  }
}

/** A signal for calls that must not take for ever. */
export const soon = (): AbortSignal => AbortSignal.timeout(60_000)

/** Starts the steps as the runner of the spec; what it printed first was its container's id. */
export const startSteps = async (
  { line }: Ground,
  engine: SandboxEngine,
  spec: SandboxSpec,
  steps: readonly Step[],
  signal = soon(),
) => engine.start(spec, (id) => line([{ do: 'print', text: `I am ${id}` }, ...steps]), signal)

export const readLogs = async (engine: SandboxEngine, ref: SandboxRef, signal = soon()): Promise<string> => {
  const chunks = await Array.fromAsync(engine.logs(ref, signal))
  signal.throwIfAborted()
  return Buffer.concat(chunks).toString()
}

/** The engine knows nothing of it (any more). Whether that proves its death depends on the engine. */
export const assertLost = ({ code, reason }: SandboxExit): void => {
  assert.deepEqual({ code, reason }, { code: null, reason: 'lost' })
}

/** Lets a runner go on that waits for this file. */
export const leaveFile = (spec: SandboxSpec, name: string): Promise<void> =>
  writeFile(join(spec.workspace.path, name), '')

/** Rejects with an `EngineError` of this cause that says what to do. */
export const rejectsWith = async (failure: StartFailure, promise: Promise<unknown>): Promise<EngineError> => {
  const error = await promise.then(
    () => assert.fail(`resolved, and should have failed with ${failure}`),
    (reason: unknown) => reason,
  )
  assert.ok(error instanceof EngineError, `not an EngineError: ${error}`)
  assert.equal(error.failure, failure, error.message)
  assert.ok(error.message.length > 10 && error.remediation.length > 10)
  return error
}
