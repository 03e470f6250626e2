import { join } from 'node:path'
import { IDENTITY_VARIABLES, RUNNER_EXIT } from '#contracts/job.ts'
import type { SandboxSpec } from '#scheduler/engines/engine.ts'
import type { RunNames, SlotSpec, WarmEngine, WarmSlot } from '#scheduler/engines/warm-engine.ts'
import type { ScriptedBox, ScriptedRunner } from './scripted-box.ts'
import { answer, drop, put, startFailure, type World } from './scripted-world.ts'

const KILLED = 137

const boxFor = (world: World, spec: SlotSpec): ScriptedBox => {
  const nobody = { session_id: '', run_id: '', workspace_id: '', tenant_id: '' }
  const box = put(world, { ...spec, ...nobody })
  box.boot()
  world.slots.set(spec.slot, box)
  return box
}

const remove = (world: World, slot: string): void => {
  const box = world.slots.get(slot)
  if (!box) return
  box.end(KILLED)
  drop(world, box)
  world.slots.delete(slot)
}

const slotOf = (world: World, spec: SlotSpec, key: string, runner: ScriptedRunner): WarmSlot => {
  const box = boxFor(world, spec)
  const gone = new AbortController()
  const watch = async () => {
    while (!box.exit) await world.bell.rung()
    gone.abort()
  }
  void watch()
  return {
    slot: spec.slot,
    containerId: box.containerId,
    key,
    gone: gone.signal,
    async tell(line) {
      answer(world)
      if (box.exit) throw startFailure('engine_unavailable', 'scripted: the slot is gone')
      await claim(world)
      box.start(line, runner)
    },
    rename: async () => answer(world),
    async discard() {
      answer(world)
      remove(world, spec.slot)
    },
  }
}

/** Whoever has a claim is that run's container from now on, as the labels of another one would say. */
const claim = async (world: World): Promise<void> => {
  if (world.slots.size === 0) return
  for (const made of (await world.claims?.all()) ?? []) {
    const box = world.slots.get(made.slot)
    if (box === undefined || box.spec.run_id !== '') continue
    const { session_id, run_id, workspace_id, tenant_id } = made
    const path = join(box.spec.workspace.path, 'workspace')
    const workspace = { path, hostPath: path }
    box.become({ session_id, run_id, workspace_id, tenant_id, workspace }, made)
  }
}

const isInTheWay = (box: ScriptedBox, { session_id, workspace_id, run_id }: RunNames): boolean =>
  box.spec.run_id !== run_id && (box.spec.session_id === session_id || box.spec.workspace_id === workspace_id)

/** The slots of a scripted engine. When who started one dies, a test ends its box with `RUNNER_EXIT.noJob`, as the end of input does. */
export const scriptedSlots = (world: World, runner: ScriptedRunner) => {
  let changes = 0
  const keyOf = ({ image, user, network, limits, env }: SandboxSpec | SlotSpec): string => {
    const harmless = Object.entries(env).filter(([name]) => !IDENTITY_VARIABLES.includes(name))
    return JSON.stringify([changes, image, user, network, limits, harmless])
  }
  const warm: WarmEngine = {
    async memoryBytes() {
      answer(world)
      return 1024 ** 3
    },
    async key(spec) {
      answer(world)
      if (spec.image === 'missing') throw startFailure('image_missing')
      return keyOf(spec)
    },
    async isFree(spec) {
      answer(world)
      await claim(world)
      return ![...world.there.values()].some((box) => isInTheWay(box, spec))
    },
    async startSlot(spec, signal) {
      signal.throwIfAborted()
      answer(world)
      if (spec.image === 'missing') throw startFailure('image_missing')
      return slotOf(world, spec, keyOf(spec), runner)
    },
    async slots() {
      answer(world)
      const there = [...world.slots].filter(([, box]) => world.there.has(box.containerId))
      return there.map(([slot, box]) => {
        const { containerId, running, createdAt } = box.info()
        return { slot, containerId, running, createdAt }
      })
    },
    async removeSlot(slot) {
      answer(world)
      remove(world, slot)
    },
  }
  return {
    warm,
    async claim() {
      await claim(world)
      answer(world)
    },
    change: () => {
      changes += 1
    },
    /** The end of input, for slots that nobody has told anything. */
    orphan() {
      for (const box of world.slots.values()) if (box.jobLine === undefined) box.end(RUNNER_EXIT.noJob)
    },
  }
}
