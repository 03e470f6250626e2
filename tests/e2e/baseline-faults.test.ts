import assert from 'node:assert/strict'
import { describe, type TestContext, test } from 'node:test'
import { checkPromises, ranOnce } from '../chaos/check.ts'
import { flowing, inWorld, isFinish, LIMIT, type World } from '../chaos/world.ts'
import { waitFor } from '../helpers.ts'
import { type RedisService, startRedis } from '../services/redis.ts'

/** Faults with a kill, of another system of this design; tests/chaos has more of them. */

/** The process that works in the container, killed as the kernel would: what waits for it lives on. */
const killAgent = async ({ stack }: World, containerId: string): Promise<void> => {
  const list: { Titles: string[]; Processes: string[][] } = await stack.docker.getContainer(containerId).top()
  const [pid, ppid] = [list.Titles.indexOf('PID'), list.Titles.indexOf('PPID')]
  const first = list.Processes.find((row) => !list.Processes.some((other) => other[pid] === row[ppid]))
  const runner = list.Processes.find((row) => row[ppid] === first?.[pid])
  process.kill(Number(runner?.[pid]), 'SIGKILL')
}

/** API and workers on a Redis that keeps its data, and that the test may kill. */
const withRedis = (body: (world: World, redis: RedisService) => Promise<void>) => async (t: TestContext) => {
  const redis = await startRedis({ persist: true })
  if ('skip' in redis) return t.skip(redis.skip)
  await using _redis = redis
  await inWorld({ env: { REDIS_URL: redis.url } }, (world) => body(world, redis))(t)
}

describe('baseline: what is killed', { concurrency: true }, () => {
  test(
    'a: agent SIGKILL mid-run: a finish is stored and shown, the partial answer is kept, the result says 137',
    LIMIT,
    inWorld({}, async (world) => {
      const watched = await world.ask('a')
      await flowing(watched, 3)
      await killAgent(world, (await world.document(watched)).container_id ?? '')
      const [over] = await checkPromises(world.stack, watched)
      assert.equal(over?.result.error, 'Container exited with code 137 without FINISH event')
      const kept = over?.log.findLast(({ event_type }) => event_type === 'message_complete')
      assert.match(kept?.event_type === 'message_complete' ? kept.data.content : '', /^word0 word1 /)
    }),
  )

  test(
    'b: worker SIGKILL mid-run, started again: the run that ended meanwhile is recorded, and the next one gets its own events',
    LIMIT,
    inWorld({ channel: 'direct' }, async (world) => {
      const [worker] = world.stack.workers
      const first = await world.ask('b')
      await first.talking()
      await worker?.kill()
      first.release()
      await first.client.until('the finish, without any worker', isFinish)
      const next = await world.ask('b again', { session: 'b' })
      await worker?.restart()
      await next.talking()
      next.release()
      const over = await checkPromises(world.stack, first, next)
      for (const { result } of over) assert.equal(result.status, 'success')
      await ranOnce(world.stack, first, next)
    }),
  )

  test(
    'f1: Redis restarted with its data: nobody notices',
    LIMIT,
    withRedis(async (world, redis) => {
      const watched = await world.ask('f1')
      await watched.talking()
      await redis.restart()
      await flowing(watched)
      watched.release()
      const [over] = await checkPromises(world.stack, watched)
      assert.equal(over?.result.status, 'success')
      assert.equal(over?.run.attempt, 1)
    }),
  )

  test(
    'f2: Redis SIGKILL and start, three times: runs go on, and the worker takes tasks after each',
    LIMIT,
    withRedis(async (world, redis) => {
      const through = await world.ask('f2')
      await through.talking()
      const all = [through]
      for (const trial of [1, 2, 3]) {
        await redis.kill()
        await flowing(through, 3)
        await redis.restart()
        // A hint that is lost is given again by reconcile, half a minute later: that has a test of its own.
        await waitFor(async () => (await fetch(`${world.stack.urls[0]}/readyz`)).ok, { what: 'the API to be ready' })
        const next = await world.ask(`f2-${trial}`)
        all.push(next)
        await next.talking()
        next.release()
      }
      through.release()
      for (const { result, run } of await checkPromises(world.stack, ...all)) {
        assert.equal(result.status, 'success')
        assert.equal(run.attempt, 1)
      }
      await ranOnce(world.stack, ...all)
    }),
  )
})
