import type { Claims } from '#scheduler/claims.ts'
import type { SandboxEngine } from '#scheduler/engines/engine.ts'
import type { ScriptedBox, ScriptedRunner } from './scripted-box.ts'
import { type BeforeStart, create, findPlace, readLogs, remove, stop, waitFor } from './scripted-calls.ts'
import { hangs } from './scripted-runners.ts'
import { scriptedSlots } from './scripted-slots.ts'
import { answer, boxOf, called, createWorld, drop, type EngineCall, ringAll, type World } from './scripted-world.ts'

export type EngineScript = {
  /** What runs in the containers; default: hangs until TERM. Ready-made ones are in scripted-runners.ts. */
  readonly runner?: ScriptedRunner
  /**
   * Between creating a container and starting it: throw (`startFailure`) to fail, wait to be slow. The container is there
   * meanwhile, not started.
   */
  readonly beforeStart?: BeforeStart
  readonly engineId?: string
  /** False: of a container that is not there nobody knows whether it is dead, as in a cluster. Default: true. */
  readonly provesDeath?: boolean
  readonly sharesPaths?: boolean
  /** With it, containers can be started ahead. */
  readonly claims?: Claims
  /** False: keeps no list of calls and containers, for tests in which thousands come and go. Default: true. */
  readonly remembers?: boolean
}

/** The engine, and what a test can see and do behind its back. */
export type ScriptedEngine = SandboxEngine & {
  /** Every call addressed to a run, in order. */
  readonly calls: readonly EngineCall[]
  /** Every container ever made, in order, removed ones too. */
  readonly boxes: readonly ScriptedBox[]
  /** The run's container that is there now: `print`, `end`, `output`, `exit`. */
  box(runId: string): ScriptedBox | undefined
  /** From now on it does not answer: every call rejects with `engine_unavailable`, those under way too. */
  goAway(): void
  comeBack(): void
  /** The container vanishes from the engine. `alive`: its process goes on unseen, as behind a partition. */
  lose(runId: string, how?: { readonly alive: boolean }): void
  /** What slots are started with is another one from now on: a new image, new options. */
  change(): void
  /** Who started the slots is dead: their input ends. */
  orphan(): void
}

const KILLED = 137

const handles = (world: World): Omit<ScriptedEngine, keyof SandboxEngine | 'change' | 'orphan'> => ({
  calls: world.calls,
  boxes: world.boxes,
  box: (runId) => [...world.there.values()].find(({ spec }) => spec.run_id === runId),
  goAway() {
    world.away = true
    ringAll(world)
  },
  comeBack() {
    world.away = false
  },
  lose(runId, { alive } = { alive: false }) {
    for (const box of [...world.there.values()].filter(({ spec }) => spec.run_id === runId)) {
      drop(world, box)
      if (!alive) box.end(KILLED)
    }
  },
})

/** An engine in memory that does what a test's script says. Nothing in it takes time but the grace of `stop`. */
export const createScriptedEngine = (script: EngineScript = {}): ScriptedEngine => {
  const world = createWorld(script.claims, script.provesDeath, script.remembers)
  const slots = scriptedSlots(world, script.runner ?? hangs)
  return {
    ...handles(world),
    ...(script.claims && { warm: slots.warm }),
    change: slots.change,
    orphan: slots.orphan,
    name: 'scripted',
    sharesPaths: script.sharesPaths ?? false,
    async engineId() {
      answer(world)
      return script.engineId ?? 'scripted'
    },
    check: async () => answer(world),
    async start(spec, jobLine, signal) {
      called(world, 'start', spec)
      await slots.claim()
      const own = await findPlace(world, spec, signal)
      if (own) return { containerId: own.containerId, adopted: true }
      const box = await create(world, spec, script.beforeStart, signal)
      box.start(jobLine(box.containerId), script.runner ?? hangs)
      return { containerId: box.containerId, adopted: false }
    },
    async find(ref) {
      called(world, 'find', ref)
      await slots.claim()
      return boxOf(world, ref)?.info()
    },
    async *logs(ref, signal) {
      if (signal.aborted) return
      called(world, 'logs', ref)
      await slots.claim()
      yield* readLogs(world, ref, signal)
    },
    async wait(ref, signal) {
      signal.throwIfAborted()
      called(world, 'wait', ref)
      await slots.claim()
      return waitFor(world, ref, signal)
    },
    async stop(ref, graceMs) {
      called(world, 'stop', ref)
      await slots.claim()
      await stop(world, ref, graceMs)
    },
    async remove(ref, containerId) {
      called(world, 'remove', ref, containerId)
      await slots.claim()
      remove(world, ref, containerId)
    },
    async attest(ref) {
      answer(world)
      const box = boxOf(world, ref)
      return box?.info().running ? { kind: 'nothing', containerId: box.containerId } : undefined
    },
    async list() {
      answer(world)
      await slots.claim()
      return [...world.there.values()].filter((box) => box.spec.run_id !== '').map((box) => box.info())
    },
  }
}
