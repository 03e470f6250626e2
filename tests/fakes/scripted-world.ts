import type { StartFailure } from '#contracts/causes.ts'
import type { SandboxExit } from '#contracts/run.ts'
import type { Claims } from '#scheduler/claims.ts'
import { EngineError, type SandboxRef } from '#scheduler/engines/engine.ts'
import { LOST } from '#scheduler/engines/exit-reason.ts'
import { type Bell, createBell } from './bell.ts'
import type { ScriptedBox } from './scripted-box.ts'

export type EngineCall = SandboxRef & {
  readonly call: 'start' | 'find' | 'logs' | 'wait' | 'stop' | 'remove'
  readonly containerId?: string
}

/** What a scripted engine holds: its containers, and whether it answers. */
export type World = {
  readonly bell: Bell
  readonly there: Map<string, ScriptedBox>
  /** Every container ever made. */
  readonly boxes: ScriptedBox[]
  readonly calls: EngineCall[]
  /** Containers that were started ahead, by slot; and whose they became. */
  readonly slots: Map<string, ScriptedBox>
  readonly claims: Claims | undefined
  away: boolean
  /** What is said of a container that is not there. */
  readonly lost: SandboxExit
}

export const createWorld = (claims?: Claims, proves = true): World => ({
  bell: createBell(),
  there: new Map(),
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
  world.calls.push({ call, session_id, run_id, ...(containerId !== undefined && { containerId }) })
  answer(world)
}

/** Waits for a change, and throws when the engine went away meanwhile. */
export const change = async (world: World, signal?: AbortSignal): Promise<void> => {
  await world.bell.rung(signal)
  answer(world)
}

export const boxOf = (world: World, { session_id, run_id }: SandboxRef): ScriptedBox | undefined =>
  [...world.there.values()].find(({ spec }) => spec.session_id === session_id && spec.run_id === run_id)

export const drop = (world: World, box: ScriptedBox): void => {
  world.there.delete(box.containerId)
  world.bell.ring()
}
