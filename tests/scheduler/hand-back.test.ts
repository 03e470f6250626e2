import assert from 'node:assert/strict'
import { test } from 'node:test'
import { agent, gate } from '../fakes/scripted-agent.ts'
import { appends, named } from '../fakes/scripted-process.ts'
import { exits, hangs } from '../fakes/scripted-runners.ts'
import { openWorld } from './world.ts'

/** Longer than any test: whoever waits for an owner to grow silent does not come through. */
const NEVER_STALE = { timings: { stale: 3_600_000 } }

test('SIGTERM: the container goes on, and the next worker adopts it at once', async (t) => {
  const held = gate()
  const world = await openWorld(t, ({ events }) => agent(events, { beforeStep: held.hook }))
  const [first, second] = [world.worker(NEVER_STALE), world.worker(NEVER_STALE)]
  first.start()
  const run = await world.generate()
  await held.reached
  await first.stop()
  assert(world.engine.box(run.run_id)?.info().running)
  assert(!world.engine.calls.some(({ call }) => call === 'stop' || call === 'remove'))
  assert.equal((await world.log(run)).at(-1)?.event_type, 'tool_start')
  second.start()
  const adopted = await world.event(run, 'starting').then(() => world.event(run, 'running'))
  assert(adopted)
  held.open()
  assert.equal((await world.over(run)).data.cause, 'completed')
  assert.equal((await world.run(run)).attempt, 2)
  assert.equal(world.engine.boxes.length, 1)
})

test('SIGTERM while a start waits: handed back, and started by the next worker', async (t) => {
  const held = gate()
  const world = await openWorld(t, ({ events }) => agent(events), { beforeStart: held.hook })
  const [first, second] = [world.worker(NEVER_STALE), world.worker(NEVER_STALE)]
  first.consume()
  const run = await world.generate()
  await held.reached
  const stopping = first.stop()
  held.open()
  await stopping
  second.consume()
  assert.equal((await world.over(run)).data.cause, 'completed')
})

test('SIGTERM while the engine is away does not wait for it', async (t) => {
  const world = await openWorld(t, () => hangs)
  const [first, second] = [world.worker(NEVER_STALE), world.worker(NEVER_STALE)]
  first.start()
  const run = await world.generate()
  await world.event(run, 'running')
  world.engine.goAway()
  await first.stop()
  world.engine.comeBack()
  second.consume()
  world.engine.box(run.run_id)?.end(5)
  assert.equal((await world.over(run)).data.cause, 'container_exited')
})

test('SIGTERM while the store is away does not wait for it for ever', async (t) => {
  const world = await openWorld(t, () => hangs)
  const first = world.worker()
  first.consume()
  const run = await world.generate()
  await world.event(run, 'running')
  first.process.cutOff = 'runs.'
  await first.stop()
  await world.forget(run)
  world.engine.box(run.run_id)?.end(5)
  await world.worker().handle(run)
  assert.equal((await world.over(run)).data.cause, 'container_exited')
})

test('SIGTERM in the middle of an ending: the ending is brought to its end', async (t) => {
  const world = await openWorld(t, () => exits(3))
  const first = world.worker()
  const asleep = first.process.sleepAt('before', appends('finish'))
  first.consume()
  const run = await world.generate()
  await asleep
  const stopping = first.stop()
  first.process.wake()
  await stopping
  assert.equal((await world.over(run)).data.cause, 'container_exited')
})

test('a run is handed back before its start as well', async (t) => {
  const world = await openWorld(t, ({ events }) => agent(events))
  const [first, second] = [world.worker(NEVER_STALE), world.worker(NEVER_STALE)]
  const asleep = first.process.sleepAt('before', named('engine.start'))
  first.consume()
  const run = await world.generate()
  await asleep
  const stopping = first.stop()
  first.process.wake()
  await stopping
  second.consume()
  assert.equal((await world.over(run)).data.cause, 'completed')
})
