import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Run } from '#contracts/run.ts'
import { postGenerate, stopRun } from '../e2e/generate.ts'
import type { StackOptions } from '../e2e/stack.ts'
import { sleep } from '../helpers.ts'
import type { MongoService } from '../services/mongodb.ts'
import { checkPromises, ranOnce, settled } from './check.ts'
import { flowing, inWorld, LIMIT, type World } from './world.ts'

/** How long the service is gone. */
const OUTAGE_MS = 10_000

type Outage = { readonly begin: (mongo: MongoService) => Promise<void>; readonly end: (mongo: MongoService) => unknown }

const STOPPED: Outage = { begin: (mongo) => mongo.pause(), end: (mongo) => mongo.resume() }
const KILLED: Outage = { begin: (mongo) => mongo.kill(), end: (mongo) => mongo.restart() }

/**
 * A 503 says that nobody knows: what was on its way to a database that hung may be stored when it goes on, and then it is a run as
 * any other.
 */
const endRefused = async ({ stack }: World, session_id: string): Promise<void> => {
  const stored = await stack.db.collection<Run>('runs').find({ session_id }).toArray()
  if (stored.length > 0) await stopRun(stack.urls[0], { session_id })
  for (const { run_id } of stored) await settled(stack, run_id)
}

/** One run is at work and one ends during the outage: its model has said all while nothing could be stored. */
const throughOutage = async (world: World, { begin, end }: Outage): Promise<void> => {
  const { stack, model } = world
  const [long, short] = await Promise.all([world.ask('long'), world.ask('short')])
  await Promise.all([long.talking(), short.talking()])
  await begin(stack.mongo)
  await sleep(OUTAGE_MS / 2)
  short.release()
  const refused = await postGenerate(stack.urls[0], { session_id: stack.sessionId('new'), prompt: 'hello' })
  assert.equal(refused.status, 503)
  assert.match(await refused.text(), /"code":"UNAVAILABLE"/)
  await sleep(OUTAGE_MS / 2)
  await end(stack.mongo)
  await flowing(long)
  long.release()
  await endRefused(world, stack.sessionId('new'))
  const over = await checkPromises(stack, long, short)
  for (const { result, run } of over) {
    assert.equal(result.cause, 'completed')
    assert.equal(model.asked(run.prompt), 2, 'the model was not asked again')
  }
  await ranOnce(stack, long, short)
}

const CASES: readonly (readonly [string, StackOptions, Outage])[] = [
  ['stopped (SIGSTOP), gateway', { channel: 'socket' }, STOPPED],
  ['killed (SIGKILL) and started again with its data, gateway', { channel: 'socket' }, KILLED],
  ['killed (SIGKILL) and started again with its data, direct', { channel: 'direct' }, KILLED],
]

describe('MongoDB is away for ten seconds in the middle of a run: nothing is lost or said twice', {
  concurrency: true,
}, () => {
  for (const [name, options, outage] of CASES) {
    test(
      name,
      LIMIT,
      inWorld({ own: true, ...options }, (world) => throughOutage(world, outage)),
    )
  }
})
