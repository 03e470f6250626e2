import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { statfs } from 'node:fs/promises'
import { constants, setPriority } from 'node:os'

/** Of a file system, bytes. `free`: for who is not root. */
export type DiskSpace = { readonly free: number; readonly total: number }

/** How much there is, and how much is left. */
export type DiskProbe = {
  /**
   * Bytes on disk of everything below a directory (or below what a link there leads to); 0 where there is none.
   * `urgent`: before the other work of the machine, not behind it.
   */
  used(path: string, urgent: boolean, signal: AbortSignal): Promise<number>
  space(path: string): Promise<DiskSpace>
}

const KIB = 1024

/**
 * `du`, and not a walk of our own: a process of its own at low priority keeps ten thousands of `stat` off the threads that
 * this one shares among all its runs, and counts a file with two names once.
 */
const diskUsage = async (path: string, urgent: boolean, signal: AbortSignal): Promise<number> => {
  const child = spawn('du', ['-s', '-k', '-x', '-H', '--', path], { signal, stdio: ['ignore', 'pipe', 'ignore'] })
  const ended = once(child, 'close')
  ended.catch(() => {})
  if (child.pid !== undefined && !urgent) setPriority(child.pid, constants.priority.PRIORITY_LOW)
  let said = ''
  for await (const chunk of child.stdout) said += chunk
  await ended
  // Exit code 1: something went away, or is closed to us, meanwhile; the rest is counted.
  return Number.parseInt(said, 10) * KIB || 0
}

export const diskProbe: DiskProbe = {
  used: diskUsage,
  async space(path) {
    const { bavail, blocks, bsize } = await statfs(path)
    return { free: bavail * bsize, total: blocks * bsize }
  },
}
