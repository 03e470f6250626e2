import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import type { Run } from '#contracts/run.ts'
import type { Stack } from '../../e2e/stack.ts'
import { sleep } from '../../helpers.ts'
import { jobs } from '../check.ts'

/** Reconcile comes every ten seconds, and leaves what is younger than fifteen alone. */
const PATIENCE_MS = 60_000
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

const look = async (stack: Stack, ownDaemon: boolean): Promise<string[]> => {
  const [containers, nets, dirs, lockedRuns, waiting, held] = await Promise.all([
    stack.containers(),
    networks(stack, ownDaemon),
    readdir(join(stack.root, '.mgx')).catch(() => []),
    stack.db.collection<Run>('runs').distinct('run_id', { lock: true }),
    jobs(stack),
    locks(stack),
  ])
  return [
    ...containers.map(({ Names, State }) => `container ${Names.join(' ')} (${State})`),
    ...nets.map((name) => `network ${name}`),
    ...dirs.map((name) => `directory .mgx/${name} of a socket`),
    ...lockedRuns.map((run) => `lock of run ${run}`),
    ...waiting.map((job) => `job ${job}`),
    ...held.map((key) => `lock ${key} in the queue`),
  ]
}

/**
 * What is left of the house's runs when all of them are over, given a while to go.
 * @param ownDaemon no other's networks are on this Docker daemon
 */
export const leftoversOf = async (stack: Stack, ownDaemon: boolean): Promise<string[]> => {
  const end = Date.now() + PATIENCE_MS
  for (;;) {
    const left = await look(stack, ownDaemon)
    if (left.length === 0 || Date.now() > end) return left
    await sleep(LOOK_MS)
  }
}
