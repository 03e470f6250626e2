import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { describe, it } from 'node:test'
import { Queue } from 'bullmq'
import { Redis } from 'ioredis'
import { jobOf } from '../conformance/job-queue.ts'
import { waitFor } from '../helpers.ts'
import { createNotes, LEASE, openQueue, PREFIX, type Scope, withRedis } from './bullmq-scope.ts'

const startWorkerProcess = (scope: Scope, url: string) => {
  const script = join(import.meta.dirname, 'worker-process.ts')
  const args = [script, url, PREFIX, String(LEASE.lockMs), String(LEASE.stalledCheckMs)]
  const child: ChildProcess = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] })
  scope.defer(() => void child.kill('SIGKILL'))
  const seen: string[] = []
  if (child.stdout === null) throw new Error('a worker process without output')
  createInterface({ input: child.stdout }).on('line', (line) => seen.push(line))
  const end = async (signal: NodeJS.Signals) => {
    const exited = once(child, 'exit')
    child.kill(signal)
    await exited
  }
  return { seen, end }
}

describe('BullMQ and the death of workers', () => {
  it(
    'offers the job again after each of three SIGKILLs in a row, and to a fourth worker that ends it',
    withRedis({}, async (scope, redis) => {
      const queue = openQueue(scope, redis.url)
      await queue.enqueue(jobOf('a'))
      for (const round of [1, 2, 3]) {
        const worker = startWorkerProcess(scope, redis.url)
        await waitFor(() => worker.seen[0] === 'a', { what: `worker ${round} to be offered the job` })
        await worker.end('SIGKILL')
      }
      const notes = createNotes()
      queue.consume(notes.handler, { concurrency: 1 })
      await waitFor(() => notes.ended.includes('a'))
      await waitFor(async () => (await queue.stats()).active === 0)
      assert.deepEqual(await queue.stats(), { waiting: 0, active: 0, delayed: 0 })
    }),
  )

  it(
    'a worker that leaves on SIGTERM hands its job back without waiting for the lock',
    withRedis({}, async (scope, redis) => {
      const queue = openQueue(scope, redis.url)
      await queue.enqueue(jobOf('a'))
      const worker = startWorkerProcess(scope, redis.url)
      await waitFor(() => worker.seen[0] === 'a')
      await worker.end('SIGTERM')
      assert.deepEqual(await queue.stats(), { waiting: 1, active: 0, delayed: 0 })
    }),
  )

  it(
    'keeps what a handler returned as the return value of the job',
    withRedis({}, async (scope, redis) => {
      const queue = openQueue(scope, redis.url)
      const result = {
        session_id: 's',
        run_id: 'a',
        status: 'success',
        cause: 'completed',
        elapsed_seconds: 2,
      } as const
      queue.consume(async () => ({ kind: 'done', result }), { concurrency: 1 })
      await queue.enqueue(jobOf('a'))
      const connection = new Redis(redis.url, { maxRetriesPerRequest: null })
      const reader = new Queue('runs', { connection, prefix: PREFIX })
      scope.defer(async () => {
        await reader.close()
        connection.disconnect()
      })
      const job = await waitFor(async () => {
        const found = await reader.getJob('a')
        return (await found?.isCompleted()) ? found : undefined
      })
      assert.deepEqual(job.returnvalue, result)
    }),
  )
})
