import { execFileSync } from 'node:child_process'
import { readdir, readFile, realpath } from 'node:fs/promises'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { tempDir } from '../helpers.ts'

/** Where something is mounted below a directory, as this process sees it. */
export const mountsIn = async (root: string): Promise<string[]> => {
  const all = (await readFile('/proc/self/mountinfo', 'utf8')).trim().split('\n')
  return all.map((line) => line.split(' ')[4] ?? '').filter((path) => path.startsWith(`${root}/`))
}

/** Files below a directory that are the backing of a loop device, over all mount namespaces. */
export const loopsIn = async (root: string): Promise<string[]> => {
  const devices = (await readdir('/sys/block')).filter((name) => name.startsWith('loop'))
  const read = (name: string) => readFile(join('/sys/block', name, 'loop/backing_file'), 'utf8').catch(() => '')
  return (await Promise.all(devices.map(read))).map((path) => path.trim()).filter((path) => path.startsWith(`${root}/`))
}

/**
 * A temporary directory in memory in which things may be mounted: a busy disk would take seconds for each unmount. What a failed
 * test leaves there is unmounted first.
 */
export const mountableDir = async (t: TestContext): Promise<string> => {
  let root: string | undefined
  t.after(async () => {
    if (root === undefined) return
    for (const path of [...(await mountsIn(root)).reverse(), root]) execFileSync('umount', ['--lazy', path])
  })
  const directory = await realpath(await tempDir(t))
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=512m,mode=755', 'tmpfs', directory])
  root = directory
  return root
}

export const CANNOT_MOUNT = process.getuid?.() === 0 ? false : 'only root can mount the disks of hard quotas'
