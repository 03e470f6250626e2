import { mkdir, rm, rmdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Skip } from '../../services/daemon.ts'
import { exec } from '../../services/machine.ts'

/** A small file system of its own at a path. */
export type Disk = AsyncDisposable & {
  /** Takes every byte that is left. */
  fill(): Promise<void>
  free(): Promise<void>
}

const SIZE_MIB = 96
const PIECE = Buffer.alloc(1024 * 1024)

/** In memory, at `path`, which it makes; `{ skip }` where mounting is not allowed. */
export const openDisk = async (path: string): Promise<Disk | Skip> => {
  await mkdir(path)
  try {
    await exec('mount', ['-t', 'tmpfs', '-o', `size=${SIZE_MIB}m,mode=755`, 'mgx-chaos', path])
  } catch (error) {
    await rmdir(path)
    return { skip: `cannot mount a file system: ${String(error).split('\n')[0]}` }
  }
  const ballast = join(path, '.ballast')
  const free = () => rm(ballast, { force: true })
  return {
    async fill() {
      try {
        for (;;) await writeFile(ballast, PIECE, { flag: 'a' })
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error
      }
    },
    free,
    async [Symbol.asyncDispose]() {
      await free()
      await exec('umount', ['--lazy', path])
      await rmdir(path)
    },
  }
}
