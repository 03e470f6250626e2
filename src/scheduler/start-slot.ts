import { chmod, mkdir } from 'node:fs/promises'
import type { WarmSlot } from './engines/warm-engine.ts'
import { slotSpec } from './sandbox-spec.ts'
import { makeSlot, removeSlotFiles } from './slot-workspace.ts'
import type { PoolOptions } from './warm-pool.ts'
import { existingRoot } from './workspace.ts'

/** Makes the slot's directories and starts its container; leaves nothing when it cannot. Rejects with `EngineError`, or as files do. */
export const startSlot = async (
  { warm, engineId, config }: PoolOptions,
  slot: string,
  signal: AbortSignal,
): Promise<WarmSlot> => {
  const root = config.workspacesRoot
  await existingRoot(root)
  try {
    await makeSlot(root, slot, { v: 1, engine_id: engineId, created_at: new Date().toISOString() })
    const spec = slotSpec(slot, config)
    if (spec.gatewayDir) {
      await mkdir(spec.gatewayDir.path, { recursive: true, mode: 0o755 })
      // By hand: a umask would keep the agent's user out.
      await chmod(spec.gatewayDir.path, 0o755)
    }
    return await warm.startSlot(spec, signal)
  } catch (error) {
    await removeSlotFiles(root, slot).catch(() => {})
    throw error
  }
}

/** Removes a slot that had no run, container first. What fails is said, and left to `reconcile`. */
export const discardSlot = async (
  { config, log }: Pick<PoolOptions, 'config' | 'log'>,
  slot: WarmSlot,
): Promise<void> => {
  try {
    await slot.discard()
    await removeSlotFiles(config.workspacesRoot, slot.slot)
  } catch (err) {
    log.warn({ err, slot: slot.slot }, 'a slot could not be removed; reconcile does it')
  }
}
