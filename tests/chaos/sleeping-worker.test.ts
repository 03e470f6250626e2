import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { pino } from 'pino'
import { STEP_TIMEOUTS } from '#agent-runner/model-step.ts'
import type { SessionEvent } from '#contracts/events.ts'
import { LABELS } from '#contracts/labels.ts'
import type { Run } from '#contracts/run.ts'
import { finishRun } from '#store/ending.ts'
import { openMongoStore } from '#store/mongodb.ts'
import { stopRun } from '../e2e/generate.ts'
import { sleep, waitFor } from '../helpers.ts'
import { freeze } from '../services/freeze.ts'
import { checkPromises, ranOnce } from './check.ts'
import { flowing, inWorld, isFinish, LIMIT, runs, type Watched, type World } from './world.ts'

/** Longer than a sign of life, a look of the follower and an engine's answer: what a woken worker does, it has done by then. */
const AWAKE_MS = 6_000

/** Document and log of a run, to see that nobody changed them. */
const snapshot = async (world: World, watched: Watched): Promise<[Run, SessionEvent[]]> => {
  const { run_id } = watched.run
  const log = await world.stack.db.collection<SessionEvent>('events').find({ run_id }).sort({ seq: 1 }).toArray()
  return [await world.document(watched), log as SessionEvent[]]
}

/** What was done to containers of this installation since then (seconds, as Docker's daemon counts). */
const dockerActions = async ({ stack }: World, since: number): Promise<string[]> => {
  const filters = JSON.stringify({ type: ['container'], label: [`${LABELS.installation}=${stack.installation}`] })
  const events = await stack.docker.getEvents({ since, until: Date.now() / 1000, filters })
  let text = ''
  for await (const part of events) text += String(part)
  return text.split('\n').flatMap((line) => (line === '' ? [] : [(JSON.parse(line) as { Action: string }).Action]))
}

/** What the first worker does in a while after it wakes up, in the eyes of Docker. */
const wake = async (world: World): Promise<string[]> => {
  const [asleep] = world.stack.workers
  const since = Date.now() / 1000
  asleep?.resume()
  await waitFor(() => asleep?.log().includes('is owned by another worker'), { what: 'the woken worker to notice' })
  await sleep(AWAKE_MS)
  return dockerActions(world, since)
}

/**
 * The session's next run is at work in the container of the same name when the worker of the first one wakes up. It looks around,
 * and leaves everything as it is; afterwards it is a worker like any other.
 */
const wakeDuringNextRun = async (world: World, first: Watched): Promise<void> => {
  const { stack } = world
  const [asleep] = stack.workers
  const next = await world.ask('next', { session: 'first' })
  await next.talking()
  const before = await snapshot(world, first)
  const { container_id } = await world.document(next)
  assert.deepEqual(await wake(world), [], 'no container is touched')
  await flowing(next)
  assert.deepEqual(await snapshot(world, first), before, 'the run it slept through is as it was')
  next.release()
  const [, over] = await checkPromises(stack, first, next)
  assert.equal(over?.result.cause, 'completed')
  assert.equal(over?.run.attempt, 1)
  assert.equal(over?.run.container_id, container_id)
  const { others } = await world.ownerOf(next)
  assert.deepEqual(others, [asleep])
  await ranOnce(stack, first, next)
}

/** Only the worker that slept is left: it takes runs. */
const worksAgain = async (world: World): Promise<void> => {
  const [woken, other] = world.stack.workers
  await other?.kill('SIGTERM')
  const last = await world.ask('last')
  await last.talking()
  last.release()
  const [over] = await checkPromises(world.stack, last)
  assert.equal(over?.result.cause, 'completed')
  assert.ok(over?.run.owner?.includes(`-${woken?.pid}-`))
}

/** A run on the first worker, which is put to sleep in the middle of it; then the second worker comes. */
const fallAsleep = async (world: World): Promise<Watched> => {
  const watched = await world.ask('first')
  await watched.talking()
  await world.stack.workers[0]?.pause()
  await world.stack.addWorker()
  return watched
}

/**
 * The first worker has seen the `finish` and gives the container a moment to leave before it stops it, as it falls asleep: the first
 * thing it does when it wakes up is to stop that container. The container is frozen for as long as that takes.
 */
const fallAsleepBeforeStopping = async (world: World): Promise<Watched> => {
  const { stack } = world
  const watched = await world.ask('first')
  await watched.talking()
  const run = await world.document(watched)
  const container = stack.docker.getContainer(run.container_id ?? '')
  await freeze(container)
  await using store = await openMongoStore({
    url: stack.servicesUrl,
    db: stack.installation,
    log: pino({ enabled: false }),
  })
  await finishRun(store.events, run)
  await watched.client.until('the finish', isFinish)
  await stack.workers[0]?.pause()
  await container.unpause()
  await stack.addWorker()
  return watched
}

describe('a worker sleeps past its lock (SIGSTOP), and wakes up when others have gone on', {
  concurrency: true,
}, () => {
  test(
    'asleep while the run is at work: another one adopts and ends it',
    LIMIT,
    inWorld({}, async (world) => {
      const first = await fallAsleep(world)
      await first.client.until('the adoption', runs('adopted'))
      // The model's answer hangs in the sleeping worker's gateway until the runner gives it up.
      await flowing(first, 10, STEP_TIMEOUTS.chunkMs + 15_000)
      first.release()
      await first.client.until('the end', isFinish)
      await wakeDuringNextRun(world, first)
      await worksAgain(world)
    }),
  )

  test(
    'asleep while somebody stops the run: another one ends it as cancelled',
    LIMIT,
    inWorld({ channel: 'direct' }, async (world) => {
      const first = await fallAsleep(world)
      assert.equal((await stopRun(world.stack.urls[0], first.run)).status, 202)
      const finish = await first.client.until('the end', isFinish)
      assert.equal(finish.event_type === 'finish' && finish.data.cause, 'cancelled')
      await wakeDuringNextRun(world, first)
      await worksAgain(world)
    }),
  )

  test(
    'asleep just before it would have stopped the container: the name is another one by then',
    LIMIT,
    inWorld({ channel: 'direct' }, async (world) => {
      const first = await fallAsleepBeforeStopping(world)
      await wakeDuringNextRun(world, first)
    }),
  )

  test(
    'awake while another one works on the same run: one owner is enough',
    LIMIT,
    inWorld({ channel: 'direct' }, async (world) => {
      const first = await fallAsleep(world)
      await first.client.until('the adoption', runs('adopted'))
      assert.deepEqual(await wake(world), [])
      await flowing(first)
      first.release()
      const [over] = await checkPromises(world.stack, first)
      assert.equal(over?.result.cause, 'completed')
      assert.equal(over?.run.attempt, 2)
      assert.ok(over?.run.owner?.includes(`-${world.stack.workers[1]?.pid}-`))
      await ranOnce(world.stack, first)
    }),
  )
})
