import { lstat, readdir, rmdir, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { isMounted } from './disk-image.ts'
import { isCode } from './file-errors.ts'
import type { WorkerContext } from './worker-context.ts'
import { closeDisk, mountsDir } from './workspace-disk.ts'

const namesIn = async (directory: string): Promise<string[]> => {
  try {
    return await readdir(directory)
  } catch (error) {
    if (isCode(error, 'ENOENT')) return []
    throw error
  }
}

/** What was being made by a worker that died over it. Empty directories go as well: after a reboot nothing is mounted there. */
const removeDraft = async (path: string, graceMs: number): Promise<boolean> => {
  const found = await lstat(path).catch(() => undefined)
  if (found === undefined || Date.now() - found.ctimeMs < graceMs || (await isMounted(path))) return false
  await (found.isDirectory() ? rmdir(path) : unlink(path))
  return true
}

/**
 * Unmounts what no run needs any more: its worker died after the container was gone, or woke up late and mounted it again.
 * @returns the runs whose mounts were removed
 */
export const sweepDisks = async ({ store, config }: WorkerContext): Promise<string[]> => {
  const { workspacesRoot: root, timings } = config
  const removed: string[] = []
  for (const name of await namesIn(mountsDir(root))) {
    const run = await store.runs.get(name)
    const isOver = run?.state === 'finished' && run.container_gone
    if (run !== undefined && isOver) await closeDisk(root, run)
    if (isOver || (run === undefined && (await removeDraft(join(mountsDir(root), name), timings.reconcileGrace)))) {
      removed.push(name)
    }
  }
  return removed
}
