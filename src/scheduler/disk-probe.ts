import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { stat, statfs } from 'node:fs/promises'
import { constants, setPriority } from 'node:os'
import { isCode } from './file-errors.ts'

/** Of a file system, bytes. `free`: for who is not root. */
export type DiskSpace = { readonly free: number; readonly total: number }

/** Of the file system of one workspace. */
export type OwnSpace = DiskSpace & { readonly freeFiles: number }

/** How much there is, and how much is left. */
export type DiskProbe = {
  /**
   * Bytes on disk of everything below a directory (or below what a link there leads to); 0 where there is none.
   * `urgent`: before the other work of the machine, not behind it.
   */
  used(path: string, urgent: boolean, signal: AbortSignal): Promise<number>
  space(path: string): Promise<DiskSpace>
  /** Of the file system that begins there (or where a link there leads to); `undefined` where it is root's, or nothing. */
  own(path: string, root: string): Promise<OwnSpace | undefined>
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

const ownSpace = async (path: string, root: string): Promise<OwnSpace | undefined> => {
  try {
    const [inside, outside] = await Promise.all([stat(path), stat(root)])
    if (inside.dev === outside.dev) return undefined
    const { bavail, blocks, bsize, ffree } = await statfs(path)
    return { free: bavail * bsize, total: blocks * bsize, freeFiles: ffree }
  } catch (error) {
    if (isCode(error, 'ENOENT', 'ENOTDIR')) return undefined
    throw error
  }
}

export const diskProbe: DiskProbe = {
  used: diskUsage,
  own: ownSpace,
  async space(path) {
    const { bavail, blocks, bsize } = await statfs(path)
    return { free: bavail * bsize, total: blocks * bsize }
  },
}
