import type { SandboxExit } from '#contracts/run.ts'
import type { SandboxRef, SandboxSpec } from '#scheduler/engines/engine.ts'
import type { ScriptedBox } from './scripted-box.ts'
import { answer, boxOf, change, drop, put, startFailure, type World } from './scripted-world.ts'

const KILLED = 137

export type BeforeStart = (spec: SandboxSpec, signal: AbortSignal) => void | Promise<void>

const isInTheWay = (box: ScriptedBox, spec: SandboxSpec): boolean =>
  box.spec.run_id !== spec.run_id &&
  (box.spec.session_id === spec.session_id || box.spec.workspace_id === spec.workspace_id)

/** The run's own container if it was started, else nothing, once nobody else's is in the way. */
export const findPlace = async (
  world: World,
  spec: SandboxSpec,
  signal: AbortSignal,
): Promise<ScriptedBox | undefined> => {
  for (;;) {
    signal.throwIfAborted()
    answer(world)
    const own = boxOf(world, spec)
    if (own?.info().started) return own
    if (own) drop(world, own)
    if (![...world.there.values()].some((box) => isInTheWay(box, spec))) return undefined
    await world.bell.rung(signal)
  }
}

export const create = async (
  world: World,
  spec: SandboxSpec,
  beforeStart: BeforeStart | undefined,
  signal: AbortSignal,
): Promise<ScriptedBox> => {
  const box = put(world, spec)
  try {
    await beforeStart?.(spec, signal)
    signal.throwIfAborted()
    answer(world)
    if (!world.there.has(box.containerId)) {
      throw startFailure('start_failed', 'scripted: removed before it was started')
    }
    return box
  } catch (error) {
    drop(world, box)
    throw error
  }
}

export async function* readLogs(world: World, ref: SandboxRef, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  const box = boxOf(world, ref)
  for (let next = 0; box && !signal.aborted; ) {
    const chunk = box.output[next]
    if (chunk) {
      next += 1
      yield chunk
    } else if (box.exit || !world.there.has(box.containerId)) {
      return
    } else {
      await change(world, box, signal)
    }
  }
}

export const waitFor = async (world: World, ref: SandboxRef, signal: AbortSignal): Promise<SandboxExit> => {
  const box = boxOf(world, ref)
  while (box && !box.exit && world.there.has(box.containerId)) {
    await change(world, box, signal)
    signal.throwIfAborted()
  }
  return box?.exit ?? world.lost
}

export const stop = async (world: World, ref: SandboxRef, graceMs: number): Promise<void> => {
  const box = boxOf(world, ref)
  if (!box?.info().running) return
  box.term()
  const grace = new AbortController()
  const timer = setTimeout(() => grace.abort(), graceMs)
  try {
    while (!box.exit && !grace.signal.aborted) await change(world, box, grace.signal)
    box.end(KILLED)
  } finally {
    clearTimeout(timer)
  }
}

export const remove = (world: World, ref: SandboxRef, containerId?: string): void => {
  const box = boxOf(world, ref)
  if (!box || (containerId !== undefined && box.containerId !== containerId)) return
  box.end(KILLED)
  drop(world, box)
}
