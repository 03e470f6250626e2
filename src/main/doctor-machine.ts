import { randomUUID } from 'node:crypto'
import { mkdir, readFile, realpath, rename, rm, stat, statfs } from 'node:fs/promises'
import { join } from 'node:path'
import { type DiskLimits, reserveOn } from '#scheduler/disk-guard.ts'
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

const workspaces = async (root: string, disk: DiskLimits): Promise<Finding[]> => {
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
  return [
    ok('workspaces', `${root}, directories can be made and moved`),
    await spaceFinding(root, disk.reserveBytes),
    await quotaFinding(root, disk),
  ]
}

type FileSystem = { readonly path: string; readonly kind: string; readonly options: string }

/** The file system that a directory lies on: see proc_pid_mountinfo(5). */
const fileSystemOf = async (root: string): Promise<FileSystem | undefined> => {
  const real = `${await realpath(root)}/`
  const mounts = (await readFile('/proc/self/mountinfo', 'utf8')).trim().split('\n')
  const all = mounts.map((line) => {
    const [left = '', right = ''] = line.split(' - ')
    const [kind = '', , options = ''] = right.split(' ')
    return { path: left.split(' ')[4] ?? '', kind, options }
  })
  const above = all.filter(({ path }) => real.startsWith(path === '/' ? path : `${path}/`))
  return above.sort((a, b) => a.path.length - b.path.length).at(-1)
}

const quotaFinding = async (root: string, { quotaBytes: quota, hard }: DiskLimits): Promise<Finding> => {
  const found = await fileSystemOf(root).catch(() => undefined)
  const disk = found === undefined ? 'this file system' : `${found.kind} at ${found.path}`
  const able = /prjquota|pquota/.test(found?.options ?? '')
    ? 'could hold project quotas, which mgx does not use'
    : 'holds none itself'
  const held = hard ? 'hard, by an image for each workspace' : 'watched by the worker'
  if (quota !== undefined) return ok('workspace quota', `${megabytes(quota)}, ${held}; ${disk} ${able}`)
  const remedy = 'Set AGENT_WORKSPACE_QUOTA (such as 5g): one session can otherwise use all but AGENT_DISK_RESERVE.'
  return warning('workspace quota', `none; ${disk} ${able}`, remedy)
}

/** What this machine itself must have. */
export const machineChecks = (root: string, disk: DiskLimits): readonly Check[] => [
  {
    name: 'machine',
    remedy: 'Look at /proc.',
    run: async () => [nodeFinding(process.versions.node), await openFiles()],
  },
  { name: 'workspaces', remedy: 'Set WORKSPACES_ROOT.', run: () => workspaces(root, disk) },
]

/** Bytes in words: whole megabytes. */
export const megabytes = (bytes: number): string => `${Math.round(bytes / MIB)} MB`
