import { randomUUID } from 'node:crypto'
import type { StartFailure } from '#contracts/causes.ts'
import type { SandboxExit } from '#contracts/run.ts'
import type { Claims } from '#scheduler/claims.ts'
import { EngineError, type SandboxRef, type SandboxSpec } from '#scheduler/engines/engine.ts'
import { LOST } from '#scheduler/engines/exit-reason.ts'
import { type Bell, createBell } from './bell.ts'
import { createScriptedBox, type ScriptedBox } from './scripted-box.ts'

export type EngineCall = SandboxRef & {
  readonly call: 'start' | 'find' | 'logs' | 'wait' | 'stop' | 'remove'
  readonly containerId?: string
}

/** What a scripted engine holds: its containers, and whether it answers. */
export type World = {
  /** Rung whenever anything changes. */
  readonly bell: Bell
  /** By container: who waits for one must not be woken by thousands of others. */
  readonly bells: WeakMap<ScriptedBox, Bell>
  readonly there: Map<string, ScriptedBox>
  /** By run: containers that were made for it, as long as they are there. */
  readonly byRun: Map<string, ScriptedBox>
  /** Every container ever made; nothing where thousands come and go. */
  readonly boxes: ScriptedBox[]
  readonly remembers: boolean
  readonly calls: EngineCall[]
  /** Containers that were started ahead, by slot; and whose they became. */
  readonly slots: Map<string, ScriptedBox>
  readonly claims: Claims | undefined
  away: boolean
  /** What is said of a container that is not there. */
  readonly lost: SandboxExit
}

export const createWorld = (claims?: Claims, proves = true, remembers = true): World => ({
  bell: createBell(),
  bells: new WeakMap(),
  there: new Map(),
  byRun: new Map(),
  remembers,
  boxes: [],
  calls: [],
  slots: new Map(),
  claims,
  away: false,
  lost: proves ? LOST : { ...LOST, unproven: true },
})

/** An error to throw from a script. */
export const startFailure = (failure: StartFailure, message = `scripted: ${failure}`): EngineError =>
  new EngineError(failure, message, 'It is scripted: change the script.')

/** Throws while the engine is away. */
export const answer = (world: World): void => {
  if (world.away) throw startFailure('engine_unavailable', 'scripted: the engine is away')
}

/** Notes a call, and answers it. */
export const called = (world: World, call: EngineCall['call'], ref: SandboxRef, containerId?: string): void => {
  const { session_id, run_id } = ref
  if (world.remembers) world.calls.push({ call, session_id, run_id, ...(containerId !== undefined && { containerId }) })
  answer(world)
}

/** A container that is there from now on, not started. */
export const put = (world: World, spec: SandboxSpec): ScriptedBox => {
  const bell = createBell()
  const box = createScriptedBox(spec, `box-${randomUUID()}`, () => {
    bell.ring()
    world.bell.ring()
  })
  world.bells.set(box, bell)
  world.there.set(box.containerId, box)
  if (spec.run_id !== '') world.byRun.set(spec.run_id, box)
  if (world.remembers) world.boxes.push(box)
  return box
}

/** Waits for a change of this container, and throws when the engine went away meanwhile. */
export const change = async (world: World, box: ScriptedBox, signal?: AbortSignal): Promise<void> => {
  await (world.bells.get(box) ?? world.bell).rung(signal)
  answer(world)
}

/** Everybody who waits looks again. */
export const ringAll = (world: World): void => {
  for (const box of world.there.values()) world.bells.get(box)?.ring()
  world.bell.ring()
}

/** The run's own container, or the slot that became its. */
export const boxOf = (world: World, { session_id, run_id }: SandboxRef): ScriptedBox | undefined =>
  [world.byRun.get(run_id), ...world.slots.values()].find(
    (box) =>
      box !== undefined &&
      world.there.has(box.containerId) &&
      box.spec.session_id === session_id &&
      box.spec.run_id === run_id,
  )

export const drop = (world: World, box: ScriptedBox): void => {
  world.there.delete(box.containerId)
  if (world.byRun.get(box.spec.run_id) === box) world.byRun.delete(box.spec.run_id)
  world.bells.get(box)?.ring()
  world.bell.ring()
}
