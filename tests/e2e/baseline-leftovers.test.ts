import assert from 'node:assert/strict'
import { readdir } from 'node:fs/promises'
import { describe, test } from 'node:test'
import { Redis } from 'ioredis'
import { checkPromises } from '../chaos/check.ts'
import { inWorld, isStart, LIMIT, type Watched, type World } from '../chaos/world.ts'
import { waitFor } from '../helpers.ts'

const BURST = ['1', '2', '3', '4', '5', '6', '7', '8']

/** Descriptors of the processes, and connections as the servers count them. */
const held = async ({ stack }: World): Promise<readonly number[]> => {
  const nodes = [...stack.apis, ...stack.workers]
  const descriptors = await Promise.all(nodes.map(async ({ pid }) => (await readdir(`/proc/${pid}/fd`)).length))
  const { connections } = (await stack.db.admin().serverStatus()) as { connections: { current: number } }
  const redis = new Redis(stack.redis.url)
  try {
    const clients = /connected_clients:(\d+)/.exec(await redis.info('clients'))?.[1]
    return [...descriptors, connections.current, Number(clients)]
  } finally {
    redis.disconnect()
  }
}

/** Eight sessions at once, for two places: six of them wait, and no client is told anything that is not so. */
const burst = async (world: World, name: string): Promise<void> => {
  const watched = await Promise.all(BURST.map((number) => world.ask(`${name}${number}`)))
  const seen: Watched[] = []
  for (const each of watched) {
    each.release()
    seen.push(each)
  }
  const over = await checkPromises(world.stack, ...seen)
  for (const { result, log } of over) {
    assert.equal(result.status, 'success')
    assert.equal(log.filter(isStart).length, 1)
  }
}

describe('baseline: what is left behind', () => {
  test(
    'h: after sixteen runs, eight at a time: no container, no volume, no network, no open connection for each run',
    { timeout: 180_000, skip: process.platform !== 'linux' && 'counts descriptors in /proc' },
    inWorld({ own: true, env: { WORKER_CONCURRENCY: '2' } }, async (world) => {
      await burst(world, 'first')
      const before = await held(world)
      await burst(world, 'second')
      const few = async () => {
        const now = await held(world)
        return now.every((count, index) => count < (before[index] ?? 0) + BURST.length)
      }
      await waitFor(few, { what: `less than one more for each run than ${before.join(', ')}` })
    }),
  )

  test(
    'h: an agent makes no volume, and its container publishes no port',
    LIMIT,
    inWorld({}, async (world) => {
      const watched = await world.ask('inspected')
      await watched.talking()
      const { container_id = '' } = await world.document(watched)
      const { Mounts, HostConfig, NetworkSettings } = await world.stack.docker.getContainer(container_id).inspect()
      assert.deepEqual([...new Set(Mounts.map(({ Type }) => Type))], ['bind'])
      assert.deepEqual(HostConfig.PortBindings ?? {}, {})
      assert.deepEqual(
        Object.values(NetworkSettings.Ports ?? {})
          .flat()
          .filter(Boolean),
        [],
      )
      assert.deepEqual(Object.keys(NetworkSettings.Networks), ['none'])
      watched.release()
      await checkPromises(world.stack, watched)
    }),
  )
})
