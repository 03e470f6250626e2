import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { chmod, link, lstat, mkdir, open, rmdir, stat, truncate, unlink } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { isCode } from './file-errors.ts'

/** File systems in files, mounted by loop devices: ext4, by the tools of the system. Linux, root. Paths are absolute. */

const run = promisify(execFile)

/** Each takes milliseconds; unmounting writes out what is not on disk yet. */
const TOOL_MS = 120_000

/** Nothing of ours: neither a PATH that somebody chose nor the keys in our environment. */
const ENV = { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C' }

/** Exit code of e2fsck(8): something was wrong, and is no more. */
const CORRECTED = 1

const PACKAGES = 'e2fsprogs and util-linux'

/** What the tool said, in one line. */
const sentence = (args: readonly string[], error: unknown): string => {
  const program = args[0] === 'flock' ? args[4] : args[0]
  if (isCode(error, 'ENOENT')) return `${program} is not installed (packages ${PACKAGES})`
  const { stderr = '', message } = error as { stderr?: string; message: string }
  return `${program}: ${(stderr.trim() || message).split('\n').join(' ')}`
}

const tool = async (program: string, ...args: string[]): Promise<string> => {
  try {
    return (await run(program, args, { env: ENV, timeout: TOOL_MS })).stdout.trim()
  } catch (error) {
    throw new Error(sentence([program, ...args], error), { cause: error })
  }
}

/**
 * One at a time for each image, over all processes; the kernel gives the lock back when its holder dies. Two mounts at once would
 * otherwise give it two loop devices, and an ext4 that is written by two of them is lost; the second one in turn finds the first.
 */
const locked = async (image: string, program: string, ...args: string[]): Promise<string> => {
  await stat(image)
  return tool('flock', '--wait', '60', image, program, ...args)
}

/**
 * Half of ext4's usual density for small ones, so that a 64 MB workspace may have 8000 files; tables and journal are zeroed when
 * they are used, no blocks are kept for root.
 */
const MAKE = ['-q', '-F', '-m', '0', '-i', '8192', '-E']
const LAZY = 'lazy_itable_init=1,lazy_journal_init=1,nodiscard'

/** `discard`: what is deleted inside is given back outside, within seconds. A disk that fails stops the writing instead of mixing it up. */
const MOUNT = 'loop,nosuid,nodev,noatime,discard,errors=remount-ro'

/**
 * Makes an image of that size that takes next to nothing on disk, whose root directory is the user's (`uid:gid`). Appears whole or
 * not at all; one that is there stays.
 */
export const makeImage = async (image: string, drafts: string, bytes: number, user: string): Promise<void> => {
  const draft = join(drafts, `draft-${randomBytes(8).toString('hex')}`)
  try {
    await using file = await open(draft, 'wx', 0o600)
    await file.truncate(bytes)
    await tool('mkfs.ext4', ...MAKE, `${LAZY},root_owner=${user}`, draft)
    await link(draft, image).catch((error: unknown) => {
      if (!isCode(error, 'EEXIST')) throw error
    })
  } finally {
    await unlink(draft).catch(() => {})
  }
}

/** Of another file system than the directory that it is in; false where there is none. */
export const isMounted = async (directory: string): Promise<boolean> => {
  try {
    const [inside, outside] = await Promise.all([stat(directory), stat(dirname(directory))])
    return inside.dev !== outside.dev
  } catch (error) {
    if (isCode(error, 'ENOENT')) return false
    throw error
  }
}

/** What mkfs leaves is the sign that nobody has finished it: the mode of the root first, then the sign goes. */
const finish = async (directory: string, mode: number): Promise<void> => {
  const sign = join(directory, 'lost+found')
  const left = await lstat(sign).catch(() => undefined)
  if (left?.uid !== 0 || !left.isDirectory()) return
  await chmod(directory, mode)
  await rmdir(sign).catch((error: unknown) => {
    // A check after a crash put files there: they are for people.
    if (!isCode(error, 'ENOTEMPTY', 'ENOENT')) throw error
  })
}

/** Makes the directory and mounts the image there, as often as one likes: all mounts of an image are one file system. */
export const mountImage = async (image: string, directory: string, mode: number): Promise<void> => {
  await mkdir(directory, { recursive: true, mode: 0o700 })
  if (!(await isMounted(directory))) await locked(image, 'mount', '-t', 'ext4', '-o', MOUNT, image, directory)
  await finish(directory, mode)
}

/** What was deleted last would stay outside; and nothing is given back that the journal does not say is free. */
const giveBack = async (directory: string): Promise<void> => {
  await tool('sync', '--file-system', directory)
  await tool('fstrim', directory)
}

/**
 * Unmounts and removes the directory; what is there without being mounted stays. Containers that have it keep it until they are gone,
 * and so does somebody's shell: the loop device goes with the last of them.
 */
export const unmountImage = async (image: string, directory: string): Promise<void> => {
  if (await isMounted(directory)) {
    await giveBack(directory).catch(() => {})
    const umount = ['umount', '--lazy', directory] as const
    await locked(image, ...umount).catch((error: unknown) => {
      if (!isCode(error, 'ENOENT')) throw error
      // Somebody has deleted the image: its files go with the last mount.
      return tool(...umount)
    })
  }
  await rmdir(directory).catch((error: unknown) => {
    if (!isCode(error, 'ENOENT')) throw error
  })
}

/** Where ext4 keeps its size: see "super block" in the kernel's description of ext4. */
const SUPER = { at: 1024, length: 1024, blocksLow: 4, logBlockSize: 24, blocksHigh: 0x150 } as const

/** Bytes of the file system in an image that is not mounted. */
const sizeInside = async (image: string): Promise<number> => {
  await using file = await open(image)
  const { buffer } = await file.read(Buffer.alloc(SUPER.length), 0, SUPER.length, SUPER.at)
  const blocks = buffer.readUInt32LE(SUPER.blocksLow) + buffer.readUInt32LE(SUPER.blocksHigh) * 2 ** 32
  return blocks * 2 ** (10 + buffer.readUInt32LE(SUPER.logBlockSize))
}

/** What mkfs leaves over at the end, at most, and is no reason to grow again. */
const REST = 4 * 1024 ** 2

const isAttached = async (image: string): Promise<boolean> => (await tool('losetup', '--associated', image)) !== ''

/**
 * Lets the file system in an image grow to that size, while it is mounted nowhere; never shrinks. Growing a mounted one would need
 * CAP_SYS_RESOURCE besides. Where somebody still has it (a container that leaves, a shell), it stays as it is this time. Can be done
 * again after it was interrupted.
 */
export const growImage = async (image: string, bytes: number): Promise<void> => {
  if ((await sizeInside(image)) >= bytes - REST || (await isAttached(image))) return
  if ((await stat(image)).size < bytes) await truncate(image, bytes)
  // Nothing is resized that was not checked. Both refuse, holding the lock, what has been mounted meanwhile.
  await locked(image, 'e2fsck', '-f', '-p', image).catch((error: unknown) => {
    if ((error as { cause?: { code?: unknown } }).cause?.code !== CORRECTED) throw error
  })
  await locked(image, 'resize2fs', image)
}
