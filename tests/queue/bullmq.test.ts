import { randomUUID } from 'node:crypto'
import { after } from 'node:test'
import { openBullQueue } from '#queue/bullmq.ts'
import { jobQueueConformance } from '../conformance/job-queue.ts'
import { startRedis } from '../services/redis.ts'

const redis = await startRedis()
const skip = 'skip' in redis ? redis.skip : false
after(async () => {
  if (!('skip' in redis)) await redis[Symbol.asyncDispose]()
})

jobQueueConformance(
  'BullMQ',
  async (t) => {
    if ('skip' in redis) throw new Error(redis.skip)
    const { url } = redis
    const prefix = `mgx-test-${randomUUID()}`
    const open = () => {
      const queue = openBullQueue({ url, prefix })
      t.after(() => queue[Symbol.asyncDispose]())
      return queue
    }
    return { queue: open(), another: open }
  },
  { skip },
)
