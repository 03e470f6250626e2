import { lstat, readdir, readlink } from 'node:fs/promises'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import type { Run } from '#contracts/run.ts'
import type { Stack } from '../../e2e/stack.ts'
import type { StackNode } from '../../e2e/stack-node.ts'
import { sleep } from '../../helpers.ts'
import { jobs } from '../check.ts'
import type { House } from './house.ts'
import { untilLeft } from './site.ts'

/** Reconcile comes every ten seconds, and leaves alone what may still have an owner: the lease of a slot is the longest, two minutes. */
const PATIENCE_MS = 180_000
const LOOK_MS = 1_000

/** Docker's own networks. */
const BUILT_IN = new Set(['bridge', 'host', 'none'])

/** The queue's locks: one for each job that a worker has in hand. */
const locks = async ({ redis: { url }, installation }: Stack): Promise<string[]> => {
  const client = new Redis(url)
  try {
    return await client.keys(`${installation}:runs:*:lock`)
  } finally {
    client.disconnect()
  }
}

const networks = async ({ docker, installation }: Stack, all: boolean): Promise<string[]> => {
  const list = await docker.listNetworks()
  const names = list.map(({ Name }) => Name).filter((name) => !BUILT_IN.has(name))
  return all ? names : names.filter((name) => name.includes(installation))
}

/** With a hard quota a workspace is a link for ever; whether something is still mounted is seen where that is. */
const isDisk = async (path: string): Promise<boolean> =>
  (await readlink(path).catch(() => '')).startsWith('.mgx/mounts/')

/** Workspaces whose files are still elsewhere: with a container that was started ahead. */
const astray = async (root: string): Promise<string[]> => {
  const names = (await readdir(root)).filter((name) => !name.startsWith('.'))
  const strays = await Promise.all(
    names.map(async (name) => {
      const path = join(root, name)
      return (await lstat(path)).isDirectory() || (await isDisk(path)) ? [] : [name]
    }),
  )
  return strays.flat()
}

/** Of a worker that died over its check: the next worker sweeps them up once they are older than this run of the harness. */
const isProbe = (name: string): boolean => name.startsWith('probe-')

/** What lies under .mgx: sockets of runs, slots, mounts. Images stay, as workspaces do. */
const workerFiles = async (root: string): Promise<string[]> => {
  const mine = join(root, '.mgx')
  const namesIn = (dir: string) => readdir(join(mine, dir)).catch(() => [])
  const [top, slots, mounts] = await Promise.all([namesIn(''), namesIn('slots'), namesIn('mounts')])
  return [
    ...top.filter((name) => !['slots', 'mounts', 'disks'].includes(name) && !isProbe(name)),
    ...slots.map((name) => `slots/${name}`),
    ...mounts.map((name) => `mounts/${name}`),
  ]
}

const look = async (stack: Stack, ownDaemon: boolean): Promise<string[]> => {
  const [containers, nets, files, strays, lockedRuns, waiting, held] = await Promise.all([
    stack.containers(),
    networks(stack, ownDaemon),
    workerFiles(stack.root),
    astray(stack.root),
    stack.db.collection<Run>('runs').distinct('run_id', { lock: true }),
    jobs(stack),
    locks(stack),
  ])
  return [
    ...containers.map(({ Names, State }) => `container ${Names.join(' ')} (${State})`),
    ...nets.map((name) => `network ${name}`),
    ...files.map((name) => `.mgx/${name}`),
    ...strays.map((name) => `workspace ${name} that did not come home`),
    ...lockedRuns.map((run) => `lock of run ${run}`),
    ...waiting.map((job) => `job ${job}`),
    ...held.map((key) => `lock ${key} in the queue`),
  ]
}

/** @param ownDaemon no other's networks are on this Docker daemon */
const untilNothing = async (stack: Stack, ownDaemon: boolean): Promise<string[]> => {
  const end = Date.now() + PATIENCE_MS
  for (;;) {
    const left = await look(stack, ownDaemon)
    if (left.length === 0 || Date.now() > end) return left
    await sleep(LOOK_MS)
  }
}

/**
 * Asks the workers to leave and lets one that keeps nothing look around for a while: what is left then, is left for ever. Says which
 * workers would not leave, too.
 */
export const leaveHouse = async (
  house: House,
  ownDaemon: boolean,
): Promise<{ readonly leftovers: readonly string[]; readonly broken: readonly string[] }> => {
  const { channel, stack } = house
  const ask = (node: StackNode, index: number) => untilLeft(`${channel} worker ${index}`, node)
  const troubles = await Promise.all(stack.workers.map(ask))
  const janitor = await house.addJanitor()
  const leftovers = await untilNothing(stack, ownDaemon)
  troubles.push(await untilLeft(`${channel} janitor`, janitor))
  return { leftovers, broken: troubles.filter((trouble) => trouble !== undefined) }
}
