import assert from 'node:assert/strict'
import { test } from 'node:test'
import { cancelRun } from '#store/cancel-run.ts'
import { agent, gate } from '../../fakes/scripted-agent.ts'
import { appends, named } from '../../fakes/scripted-process.ts'
import { hangs, ignoresTerm } from '../../fakes/scripted-runners.ts'
import { waitFor } from '../../helpers.ts'
import { openWorld } from '../world.ts'

test('rule 3 / V2: after an acknowledged cancel the runner cannot write finish(completed)', async (t) => {
  const held = gate()
  const world = await openWorld(t, ({ events }) => agent(events, { onTerm: 'ignore', atLast: held.hook }))
  const worker = world.worker()
  worker.consume()
  const run = await world.generate()
  await held.reached
  const asleep = worker.process.sleepAt('before', appends('stopping'))
  assert.equal(await cancelRun(world.store, await world.run(run), 'api'), 'stopping')
  await asleep
  held.open()
  await waitFor(() => world.engine.boxes[0]?.exit, { what: 'the runner to leave' })
  worker.process.wake()
  assert.equal((await world.over(run)).data.cause, 'cancelled')
})

test('rule 3 / V3: an acknowledged cancel ends as cancelled though the worker saw the exit first', async (t) => {
  const world = await openWorld(t, () => hangs)
  world.worker({ deaf: true }).consume()
  const run = await world.generate()
  await world.event(run, 'running')
  assert.equal(await cancelRun(world.store, await world.run(run), 'api'), 'stopping')
  world.engine.box(run.run_id)?.end(1)
  const finish = await world.over(run)
  assert.deepEqual([finish.data.cause, finish.data.error], ['cancelled', undefined])
})

test('rule 3 / V3: a cancel that comes between stopping and finish still ends as cancelled', async (t) => {
  const world = await openWorld(t, () => ignoresTerm)
  const worker = world.worker()
  worker.consume()
  const run = await world.generate()
  await world.event(run, 'running')
  // Between the look at the marks and the append: the tail has moved, and the closer looks again.
  const asleep = worker.process.sleepAt('before', appends('finish'))
  world.engine.box(run.run_id)?.end(1)
  await asleep
  assert.equal(await cancelRun(world.store, await world.run(run), 'api'), 'stopping')
  worker.process.wake()
  assert.equal((await world.over(run)).data.cause, 'cancelled')
})

test('rule 3: the runner that finished before the cancel keeps its success, and stop answers that it is over', async (t) => {
  const world = await openWorld(t, ({ events }) => agent(events))
  const worker = world.worker()
  const asleep = worker.process.sleepAt('before', named('engine.remove'))
  worker.consume()
  const run = await world.generate()
  await asleep
  assert.equal(await cancelRun(world.store, await world.run(run), 'api'), 'over')
  worker.process.wake()
  assert.equal((await world.over(run)).data.cause, 'completed')
  assert.equal(await cancelRun(world.store, await world.run(run), 'api'), 'over')
})

test('stop twice gives the same answer, before and after the end', async (t) => {
  const world = await openWorld(t, () => hangs)
  world.worker().consume()
  const run = await world.generate()
  await world.event(run, 'running')
  const stop = async () => cancelRun(world.store, await world.run(run), 'api')
  assert.deepEqual(await Promise.all([stop(), stop()]), ['stopping', 'stopping'])
  await world.over(run)
  assert.equal(await stop(), 'stopping')
  assert.equal((await world.log(run)).filter((event) => event.event_type === 'cancel_requested').length, 1)
})
