import type { TestContext } from 'node:test'
import { type BullQueueOptions, openBullQueue } from '#queue/bullmq.ts'
import type { JobHandler, JobOutcome } from '#queue/job-queue.ts'
import { type RedisOptions, type RedisService, startRedis } from '../services/redis.ts'

export const PREFIX = 'mgx-test'

// The default is 10 s and 5 s: the tests only want to wait less.
export const LEASE = { lockMs: 1_000, stalledCheckMs: 500 }

export const DONE: JobOutcome = { kind: 'done' }

/** What a test opens is closed in reverse order: the queues before their Redis. */
export type Scope = AsyncDisposableStack

type Body = (scope: Scope, redis: RedisService) => Promise<void>

export const withRedis = (options: RedisOptions, body: Body) => async (t: TestContext) => {
  const redis = await startRedis({ own: true, ...options })
  if ('skip' in redis) return t.skip(redis.skip)
  await using scope = new AsyncDisposableStack()
  scope.use(redis)
  await body(scope, redis)
}

export const openQueue = (scope: Scope, url: string, options: Partial<BullQueueOptions> = {}) =>
  scope.use(openBullQueue({ url, prefix: PREFIX, lease: LEASE, ...options }))

/** Notes what it is given; a run whose name begins with `hold` waits for `release`. */
export const createNotes = () => {
  const seen: string[] = []
  const ended: string[] = []
  const { promise: released, resolve: release } = Promise.withResolvers<void>()
  const handler: JobHandler = async ({ run_id }) => {
    seen.push(run_id)
    if (run_id.startsWith('hold')) await released
    ended.push(run_id)
    return DONE
  }
  return { seen, ended, handler, release }
}
