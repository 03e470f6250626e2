import assert from 'node:assert/strict'
import { describe, type TestContext, test } from 'node:test'
import { Redis } from 'ioredis'
import type { Run } from '#contracts/run.ts'
import { generate, postGenerate } from '../e2e/generate.ts'
import { waitFor } from '../helpers.ts'
import { startRedis } from '../services/redis.ts'
import { checkPromises, ranOnce } from './check.ts'
import { openDeafProxy } from './deaf-proxy.ts'
import { FIRST_COMMAND, promptOf } from './paced-model.ts'
import { flowing, inWorld, LIMIT, type World } from './world.ts'

const resume = inWorld({ apis: 2 }, async (world) => {
  const { apis, urls } = world.stack
  const [first, second = ''] = urls
  const patient = await world.ask('patient', { urls: [first] })
  const agile = await world.ask('agile', { urls: [first, second] })
  await Promise.all([patient.talking(), agile.talking()])
  await apis[0]?.kill()
  await flowing(agile)
  const seen = patient.client.frames.length
  await apis[0]?.restart()
  await flowing(patient)
  await apis[0]?.restart()
  await Promise.all([flowing(patient), flowing(agile)])
  for (const watched of [patient, agile]) watched.release()
  const over = await checkPromises(world.stack, patient, agile)
  for (const { result } of over) assert.equal(result.cause, 'completed')
  assert.ok(patient.client.connections >= 3, 'it had to come back, twice')
  assert.ok(patient.client.frames.length > seen)
})

/** The run is stored, its API dead before it could say anything to the queue. */
const dieBeforeEnqueue = async (world: World, prompt: string, key: string): Promise<Run> => {
  const { stack } = world
  const session_id = stack.sessionId('unheard')
  const asked = postGenerate(stack.urls[0], { session_id, prompt }, { 'idempotency-key': key })
  asked.catch(() => {})
  const find = () => stack.db.collection<Run>('runs').findOne({ session_id })
  const run = await waitFor(find, { what: 'the run to be stored', everyMs: 2 })
  await stack.apis[0]?.kill()
  await assert.rejects(asked, 'nobody was answered')
  return run
}

const keysOf = async (url: string, prefix: string): Promise<string[]> => {
  const redis = new Redis(url)
  try {
    return (await redis.keys(`${prefix}:runs:*`)).map((key) => key.slice(prefix.length))
  } finally {
    redis.disconnect()
  }
}

const unheard = async (t: TestContext): Promise<void> => {
  await using open = new AsyncDisposableStack()
  const redis = await startRedis({ own: true })
  if ('skip' in redis) return t.skip(redis.skip)
  open.use(redis)
  const proxy = open.use(await openDeafProxy(redis.port))
  const env = { REDIS_URL: `redis://127.0.0.1:${proxy.port}` }
  const body = async (world: World): Promise<void> => {
    const { stack } = world
    const [prompt, key] = [promptOf('a crash', FIRST_COMMAND), 'the-same-key']
    proxy.deaf = true
    const run = await dieBeforeEnqueue(world, prompt, key)
    const about = (await keysOf(redis.url, stack.installation)).filter((name) => name.includes(run.run_id))
    assert.deepEqual(about, [], 'the queue knows nothing of the run')
    proxy.deaf = false
    await Promise.all([stack.addWorker({ REDIS_URL: redis.url }), stack.apis[0]?.restart()])
    const { session_id, run_id } = run
    const events_url = `/api/agent/sessions/${session_id}/events?run_id=${run_id}`
    const watched = world.watch({ session_id, run_id, events_url }, prompt)
    await watched.talking()
    const again = await generate(stack.urls[0], { session_id, prompt }, { 'idempotency-key': key })
    assert.equal(again.run_id, run_id, 'who asks again with the same key gets the same run')
    watched.release()
    const [over] = await checkPromises(stack, watched)
    assert.equal(over?.result.cause, 'completed')
    await ranOnce(stack, watched)
  }
  await inWorld({ workers: 0, env }, body)(t)
}

describe('the API is killed (SIGKILL)', { concurrency: true }, () => {
  test(
    'in the middle of a stream: clients resume at the restarted one, and at another: no gap, nothing twice',
    LIMIT,
    resume,
  )
  test('between accept and enqueue: reconcile enqueues the run, and the same key gets it', LIMIT, unheard)
})
