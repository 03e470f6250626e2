import { randomUUID } from 'node:crypto'
import { mkdir, readFile, rename, rm, stat, statfs } from 'node:fs/promises'
import { join } from 'node:path'
import { reserveOn } from '#scheduler/disk-guard.ts'
import { diskProbe } from '#scheduler/disk-probe.ts'
import { type Check, type Finding, failure, ok, warning } from './doctor-report.ts'

const MIB = 1024 ** 2
const GIB = 1024 ** 3

/** `engines` of package.json. */
const OLDEST_NODE = 26

/** Each follower and each container costs a few; below this a busy process runs out. */
const FEW_FILES = 4096

const nodeFinding = (version: string): Finding =>
  Number(version.split('.')[0]) >= OLDEST_NODE
    ? ok('Node', version)
    : failure('Node', `${version} is too old`, `Use Node ${OLDEST_NODE} or newer: \`make setup\` brings it.`)

const openFiles = async (): Promise<Finding> => {
  const limits = await readFile('/proc/self/limits', 'utf8').catch(() => '')
  const soft = /^Max open files\s+(\S+)/m.exec(limits)?.[1]
  if (soft === undefined) return warning('open files', 'this system does not say its limit', 'Look at `ulimit -n`.')
  return soft === 'unlimited' || Number(soft) >= FEW_FILES
    ? ok('open files', soft)
    : warning('open files', `${soft}: few`, `Raise it to ${FEW_FILES} or more: \`ulimit -n\`, or LimitNOFILE.`)
}

const moveThrough = async (root: string): Promise<void> => {
  const name = `doctor-${randomUUID()}`
  const from = join(root, '.mgx', name)
  const to = join(root, `.${name}`)
  try {
    await mkdir(from, { recursive: true })
    await rename(from, to)
  } finally {
    await rm(from, { recursive: true, force: true })
    await rm(to, { recursive: true, force: true })
  }
}

const spaceFinding = async (root: string, reserve: number): Promise<Finding> => {
  const { files, ffree } = await statfs(root)
  const space = await diskProbe.space(root)
  const { free } = space
  const says = `${(free / GIB).toFixed(1)} GB free`
  const remedy = `Free some, or move WORKSPACES_ROOT (${root}) to a larger disk.`
  if (free < reserveOn(space, reserve)) return failure('free space', `${says}, less than is kept free`, remedy)
  if (files > 0 && ffree < files / 100) return warning('free space', `${says}, and few inodes (${ffree})`, remedy)
  return free < 5 * GIB ? warning('free space', says, remedy) : ok('free space', says)
}

const workspaces = async (root: string, reserve: number): Promise<Finding[]> => {
  const found = await stat(root).catch(() => undefined)
  if (!found?.isDirectory()) {
    return [failure('workspaces', `${root} is not a directory`, 'Create it, or set WORKSPACES_ROOT to one there is.')]
  }
  const share = 'Let this user write there, and keep WORKSPACES_ROOT/.mgx on the same file system: no mount of its own.'
  try {
    await moveThrough(root)
  } catch (error) {
    return [failure('workspaces', `directories cannot be made and moved within ${root}: ${error}`, share)]
  }
  return [ok('workspaces', `${root}, directories can be made and moved`), await spaceFinding(root, reserve)]
}

/** What this machine itself must have. `reserve`: bytes that are to stay free. */
export const machineChecks = (root: string, reserve: number): readonly Check[] => [
  {
    name: 'machine',
    remedy: 'Look at /proc.',
    run: async () => [nodeFinding(process.versions.node), await openFiles()],
  },
  { name: 'workspaces', remedy: 'Set WORKSPACES_ROOT.', run: () => workspaces(root, reserve) },
]

/** Bytes in words: whole megabytes. */
export const megabytes = (bytes: number): string => `${Math.round(bytes / MIB)} MB`
