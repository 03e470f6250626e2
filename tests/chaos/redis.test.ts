import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { Redis } from 'ioredis'
import { sleep } from '../helpers.ts'
import { checkPromises, ranOnce } from './check.ts'
import { flowing, inWorld, LIMIT, type Watched, type World } from './world.ts'

/** How long the service is gone. */
const OUTAGE_MS = 10_000

const flush = async ({ stack }: World): Promise<void> => {
  const client = new Redis(stack.redis.url)
  try {
    await client.flushall()
  } finally {
    client.disconnect()
  }
}

const allComplete = async (world: World, watched: readonly Watched[]): Promise<void> => {
  for (const each of watched) each.release()
  const over = await checkPromises(world.stack, ...watched)
  for (const { result } of over) assert.equal(result.cause, 'completed')
  await ranOnce(world.stack, ...watched)
}

describe('Redis fails in the middle of runs', { concurrency: true }, () => {
  test(
    'stopped (SIGSTOP) for ten seconds: runs go on meanwhile, and what is accepted meanwhile is worked on',
    LIMIT,
    inWorld({ own: true, workers: 2 }, async (world) => {
      const { redis } = world.stack
      const before = await world.ask('before')
      await before.talking()
      await redis.pause()
      await flowing(before)
      const meanwhile = await world.ask('meanwhile')
      await sleep(OUTAGE_MS)
      redis.resume()
      await meanwhile.talking()
      await flowing(before)
      await allComplete(world, [before, meanwhile])
      assert.equal((await world.document(before)).attempt, 1, 'nobody adopted what was not lost')
    }),
  )

  test(
    'killed and started again without its data: what was accepted meanwhile is enqueued by reconcile',
    LIMIT,
    inWorld({ own: true, channel: 'direct' }, async (world) => {
      const { redis } = world.stack
      const before = await world.ask('before')
      await before.talking()
      await redis.kill()
      const meanwhile = await world.ask('meanwhile')
      await flowing(before)
      assert.equal((await world.document(meanwhile)).state, 'queued')
      await redis.restart()
      await meanwhile.talking()
      await allComplete(world, [before, meanwhile])
    }),
  )

  test(
    'FLUSHALL while runs are queued and running: every run ends once',
    LIMIT,
    inWorld({ own: true, workers: 2, env: { WORKER_CONCURRENCY: '1' } }, async (world) => {
      const running = await Promise.all(['a', 'b'].map((name) => world.ask(name)))
      await Promise.all(running.map((watched) => watched.talking()))
      const waiting = await Promise.all(['c', 'd', 'e'].map((name) => world.ask(name)))
      await flush(world)
      await Promise.all(running.map((watched) => flowing(watched)))
      await allComplete(world, [...running, ...waiting])
    }),
  )
})
