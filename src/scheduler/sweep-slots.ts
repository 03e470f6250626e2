import { readSlots, retireSlot } from './claims.ts'
import type { SlotInfo } from './engines/warm-engine.ts'
import { bringHome, changedAt, leasedAt, readNote, removeSlotFiles } from './slot-workspace.ts'
import type { WorkerContext } from './worker-context.ts'

/**
 * Four times what lies between two looks of a pool at its slots. The runner of a slot whose worker dies leaves by itself, but not
 * where the Docker daemon was away as well: it then holds the runner's standard input open for ever.
 */
const LEASE_MS = 120_000

const ageOf = (date: Date): number => Date.now() - date.getTime()

/** Nobody will claim it any more: it ended, or whoever started it is gone, or could not remove it when it had to. */
const isOrphan = async (ctx: WorkerContext, { slot, running, createdAt }: SlotInfo): Promise<boolean> => {
  if (!running) return ageOf(createdAt) > ctx.config.timings.reconcileGrace
  return ageOf((await leasedAt(ctx.config.workspacesRoot, slot)) ?? createdAt) > LEASE_MS
}

const sweepContainer = async (ctx: WorkerContext, info: SlotInfo): Promise<boolean> => {
  if (ctx.pool?.holds(info.slot) || !(await isOrphan(ctx, info))) return false
  if (!(await retireSlot(ctx.config.workspacesRoot, info.slot))) return false
  await ctx.engine.warm?.removeSlot(info.slot)
  await removeSlotFiles(ctx.config.workspacesRoot, info.slot)
  return true
}

/**
 * A directory without a note is of nobody: its worker died before it had written it, or while it removed it all. Only one that has
 * just been made gets it a moment later.
 */
const isAbandoned = async (ctx: WorkerContext, slot: string): Promise<boolean> => {
  const root = ctx.config.workspacesRoot
  const note = await readNote(root, slot)
  if (note === undefined) return ageOf((await changedAt(root, slot)) ?? new Date()) > LEASE_MS
  return note.engine_id === ctx.engineId && ageOf(new Date(note.created_at)) >= ctx.config.timings.reconcileGrace
}

/** A directory without a container: of a worker that died between the two, or after it had removed the container. */
const sweepDirectory = async (ctx: WorkerContext, slot: string): Promise<boolean> => {
  const root = ctx.config.workspacesRoot
  if (ctx.pool?.holds(slot) || !(await isAbandoned(ctx, slot))) return false
  const claim = (await ctx.claims.all()).find((one) => one.slot === slot)
  if (claim !== undefined && claim.engine_id !== ctx.engineId) return false
  if (claim !== undefined) {
    // Its run's end brings it home; this is for a run that has none to come.
    const run = await ctx.store.runs.get(claim.run_id)
    if (run !== undefined && !run.container_gone) return false
    await bringHome(root, claim)
  } else if (await retireSlot(root, slot)) await removeSlotFiles(root, slot)
  return true
}

/**
 * Removes slots that nobody owns: what a worker that died has left. Directories are read before containers: a slot whose
 * directory was there and whose container is not will never have one.
 * @returns the slots that were removed
 */
export const sweepSlots = async (ctx: WorkerContext): Promise<string[]> => {
  const { warm } = ctx.engine
  if (warm === undefined) return []
  const directories = await readSlots(ctx.config.workspacesRoot)
  const claimed = new Set((await ctx.claims.all()).map((claim) => claim.slot))
  const containers = await warm.slots()
  const removed: string[] = []
  for (const info of containers) {
    if (!claimed.has(info.slot) && (await sweepContainer(ctx, info))) removed.push(info.slot)
  }
  const there = new Set(containers.map(({ slot }) => slot))
  for (const slot of directories) {
    if (!there.has(slot) && (await sweepDirectory(ctx, slot))) removed.push(slot)
  }
  return removed
}
