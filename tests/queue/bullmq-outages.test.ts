import assert from 'node:assert/strict'
import { once } from 'node:events'
import { describe, it } from 'node:test'
import { Redis } from 'ioredis'
import { pino } from 'pino'
import { openBullQueue } from '#queue/bullmq.ts'
import { jobOf } from '../conformance/job-queue.ts'
import { freePort, sleep, waitFor } from '../helpers.ts'
import type { RedisService } from '../services/redis.ts'
import { createNotes, DONE, LEASE, openQueue, PREFIX, withRedis } from './bullmq-scope.ts'

const flush = async (url: string) => {
  const client = new Redis(url)
  try {
    await client.flushall()
  } finally {
    client.disconnect()
  }
}

describe('BullMQ without Redis', () => {
  it('opens, rejects at once with the reason, disposes, and never waits for ever', async () => {
    const url = `redis://:secret@127.0.0.1:${await freePort()}`
    const queue = openBullQueue({ url, prefix: PREFIX })
    const consumer = queue.consume(async () => DONE, { concurrency: 1 })
    for (const call of [
      () => queue.ping(),
      () => queue.enqueue(jobOf('a')),
      () => queue.stats(),
      () => queue.remove('a'),
    ]) {
      await assert.rejects(call(), (error: Error) => {
        assert.match(error.message, /Redis cannot be reached at 127\.0\.0\.1:\d+: start it, or correct REDIS_URL/)
        return !error.message.includes('secret')
      })
    }
    await consumer[Symbol.asyncDispose]()
    await queue[Symbol.asyncDispose]()
  })

  it('tells the log why, a few times and not a hundred, and never the password', async () => {
    const lines: string[] = []
    const log = pino({}, { write: (line) => void lines.push(line) })
    const url = `redis://:secret@127.0.0.1:${await freePort()}`
    const queue = openBullQueue({ url, prefix: PREFIX, log })
    queue.consume(async () => DONE, { concurrency: 1 })
    await waitFor(() => lines.length > 0)
    // Four attempts to connect by each of three connections.
    await sleep(1_000)
    await queue[Symbol.asyncDispose]()
    assert.match(lines[0] ?? '', /ECONNREFUSED/)
    assert.ok(lines.length < 6, `${lines.length} lines`)
    assert.ok(!lines.join('').includes('secret'))
  })

  it(
    'consumers and callers recover by themselves once it is there',
    withRedis({}, async (scope, redis) => {
      await redis.kill()
      const queue = openQueue(scope, redis.url)
      const notes = createNotes()
      queue.consume(notes.handler, { concurrency: 1 })
      await assert.rejects(queue.enqueue(jobOf('a')))
      await sleep(500)
      await redis.restart()
      await waitFor(() => queue.ping().then(() => true))
      await queue.enqueue(jobOf('b'))
      await waitFor(() => notes.ended.includes('b'))
    }),
  )

  it(
    'a Redis that hangs makes calls reject, and works on when it wakes up',
    withRedis({}, async (scope, redis) => {
      const queue = openQueue(scope, redis.url)
      await queue.ping()
      await redis.pause()
      await assert.rejects(queue.ping(), /timed out/)
      await assert.rejects(queue.enqueue(jobOf('a')))
      redis.resume()
      await waitFor(() => queue.ping().then(() => true))
      await queue.enqueue(jobOf('a'))
      assert.equal((await queue.stats()).waiting, 1)
    }),
  )

  it(
    'disposing a consumer at work ends although Redis is gone',
    withRedis({}, async (_scope, redis) => {
      const queue = openBullQueue({ url: redis.url, prefix: PREFIX, lease: LEASE })
      let taken = false
      const consumer = queue.consume(
        async (_job, signal) => {
          taken = true
          await once(signal, 'abort')
          return { kind: 'later', delayMs: 1_000 }
        },
        { concurrency: 1 },
      )
      await queue.enqueue(jobOf('a'))
      await waitFor(() => taken)
      await redis.kill()
      await sleep(200)
      await consumer[Symbol.asyncDispose]()
      await queue[Symbol.asyncDispose]()
    }),
  )
})

describe('BullMQ while Redis fails under it', () => {
  it(
    'restarted with its data: the running job ends once, waiting ones and new ones are served',
    withRedis({ persist: true }, async (scope, redis) => {
      const queue = openQueue(scope, redis.url, { lease: { lockMs: 10_000, stalledCheckMs: 5_000 } })
      const notes = createNotes()
      queue.consume(notes.handler, { concurrency: 1 })
      await queue.enqueue(jobOf('hold'))
      await queue.enqueue(jobOf('next'))
      await waitFor(() => notes.seen.includes('hold'))
      await redis.kill()
      await sleep(500)
      await redis.restart()
      notes.release()
      await waitFor(() => notes.ended.includes('next'))
      await waitFor(() => queue.enqueue(jobOf('new')).then(() => true))
      await waitFor(() => notes.ended.includes('new'))
      assert.deepEqual(notes.ended, ['hold', 'next', 'new'])
      await waitFor(async () => (await queue.stats()).active === 0)
    }),
  )

  for (const [what, empty] of [
    ['emptied by FLUSHALL', (redis: RedisService) => flush(redis.url)],
    ['restarted without its data', (redis: RedisService) => redis.kill().then(() => redis.restart())],
  ] as const) {
    it(
      `${what} under a running job and an idle worker: both go on and serve what comes after`,
      withRedis({}, async (scope, redis) => {
        const busy = createNotes()
        const idle = createNotes()
        const queue = openQueue(scope, redis.url)
        queue.consume(busy.handler, { concurrency: 1 })
        await queue.enqueue(jobOf('hold'))
        await waitFor(() => busy.seen.includes('hold'))
        openQueue(scope, redis.url).consume(idle.handler, { concurrency: 1 })
        await queue.enqueue(jobOf('before'))
        await waitFor(() => idle.ended.includes('before'))
        await empty(redis)
        await waitFor(() => queue.enqueue(jobOf('after')).then(() => true))
        await waitFor(() => idle.ended.includes('after'))
        busy.release()
        await waitFor(() => busy.ended.includes('hold'))
        for (let n = 0; n < 20; n++) await queue.enqueue(jobOf(`later-${n}`))
        await waitFor(() => busy.ended.length + idle.ended.length === 23)
        assert.ok(busy.ended.length > 1, 'the worker whose job was lost takes new ones')
      }),
    )
  }

  it(
    'hanging for longer than the lock: the handler at work is not called a second time in its process',
    withRedis({}, async (scope, redis) => {
      const queue = openQueue(scope, redis.url)
      const notes = createNotes()
      queue.consume(notes.handler, { concurrency: 2 })
      await queue.enqueue(jobOf('hold'))
      await waitFor(() => notes.seen.includes('hold'))
      await redis.pause()
      await sleep(LEASE.lockMs * 2)
      redis.resume()
      await sleep(LEASE.stalledCheckMs * 4)
      notes.release()
      await waitFor(async () => (await queue.stats()).active === 0)
      assert.deepEqual(notes.seen, ['hold'])
      await queue.enqueue(jobOf('next'))
      await waitFor(() => notes.ended.includes('next'))
      assert.deepEqual(await queue.stats(), { waiting: 0, active: 0, delayed: 0 })
    }),
  )
})
