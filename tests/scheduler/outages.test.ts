import assert from 'node:assert/strict'
import { test } from 'node:test'
import { cancelRun } from '#store/cancel-run.ts'
import { agent, gate } from '../fakes/scripted-agent.ts'
import { appends, patches } from '../fakes/scripted-process.ts'
import { hangs } from '../fakes/scripted-runners.ts'
import { sleep, waitFor } from '../helpers.ts'
import { checkOver } from './check-over.ts'
import { openWorld } from './world.ts'

test('engine down at start, for less than its patience: the run starts late', async (t) => {
  const world = await openWorld(t, ({ events }) => agent(events))
  world.engine.goAway()
  const worker = world.worker({ timings: { enginePatience: 20_000 } })
  worker.consume()
  const run = await world.generate()
  await waitFor(() => world.engine.calls.filter(({ call }) => call === 'start').length > 1)
  world.engine.comeBack()
  assert.equal((await world.over(run)).data.cause, 'completed')
})

test('engine down at start, for longer: engine_unavailable, and its text', async (t) => {
  const world = await openWorld(t, () => hangs)
  world.engine.goAway()
  const worker = world.worker()
  worker.consume()
  const run = await world.generate()
  const finish = await world.event(run, 'finish')
  assert(finish.event_type === 'finish')
  assert.equal(finish.data.cause, 'engine_unavailable')
  assert.match(finish.data.error ?? '', /^Failed to create or monitor agent container: /)
  world.engine.comeBack()
  await waitFor(async () => (await world.run(run)).state === 'finished')
  await worker.reconcile()
  await world.over(run)
})

test('engine away for a while in the middle of a run changes nothing', async (t) => {
  const held = gate()
  const world = await openWorld(t, ({ events }) => agent(events, { beforeStep: held.hook }))
  world.worker().consume()
  const run = await world.generate()
  await held.reached
  world.engine.goAway()
  await waitFor(() => world.engine.calls.filter(({ call }) => call === 'find').length > 1)
  world.engine.comeBack()
  held.open()
  assert.equal((await world.over(run)).data.cause, 'completed')
})

test('engine away and back before the deadline: the cause is timeout, not engine_unavailable', async (t) => {
  const world = await openWorld(t, () => hangs)
  world.worker().consume()
  const run = await world.generate({ options: { timeout_seconds: 2 } })
  await world.event(run, 'running')
  const waits = () => world.engine.calls.filter(({ call }) => call === 'wait').length
  const before = waits()
  world.engine.goAway()
  await waitFor(() => world.engine.calls.filter(({ call }) => call === 'find').length > 1)
  world.engine.comeBack()
  await waitFor(() => waits() > before)
  assert.equal((await world.over(run)).data.cause, 'timeout')
})

test('engine away at the deadline: finish all the same, and the removal stays owed', async (t) => {
  const world = await openWorld(t, () => hangs)
  const worker = world.worker()
  worker.consume()
  const run = await world.generate({ options: { timeout_seconds: 1 } })
  await world.event(run, 'running')
  world.engine.goAway()
  const over = await waitFor(async () => (await world.run(run)).state === 'finished' && world.run(run))
  assert.equal(checkOver(await world.log(run), over).data.cause, 'engine_unavailable')
  assert.equal(over.container_gone, false)
  world.engine.comeBack()
  await worker.reconcile()
  await world.over(run)
})

test('an engine that hangs at the end of a run does not keep it from its finish', async (t) => {
  const world = await openWorld(t, () => hangs)
  const worker = world.worker()
  Object.assign(worker.ctx, {
    engine: { ...worker.ctx.engine, stop: () => new Promise<void>(() => {}) },
  })
  worker.consume()
  const run = await world.generate()
  await world.event(run, 'running')
  await cancelRun(world.store, await world.run(run), 'api')
  const finish = await world.event(run, 'finish')
  assert(finish.event_type === 'finish')
  assert.equal(finish.data.cause, 'cancelled')
})

test('an engine that cannot stop a container does not keep the run from its finish', async (t) => {
  const world = await openWorld(t, () => hangs)
  const worker = world.worker()
  Object.assign(worker.ctx, {
    engine: { ...worker.ctx.engine, stop: () => Promise.reject(new Error('cannot kill container: scripted')) },
  })
  worker.consume()
  const run = await world.generate()
  await world.event(run, 'running')
  await cancelRun(world.store, await world.run(run), 'api')
  const finish = await world.event(run, 'finish')
  assert(finish.event_type === 'finish')
  assert.equal(finish.data.cause, 'cancelled')
})

for (const port of ['runs.', 'events.', 'logs.', '']) {
  test(`out of reach for a while in the middle of a run: ${port || 'store, queue and engine'}`, async (t) => {
    const held = gate()
    const world = await openWorld(t, ({ events }) =>
      agent(events, { beforeStep: held.hook, beforeFinish: (self) => self.print('output') }),
    )
    const worker = world.worker()
    worker.start()
    const run = await world.generate()
    await held.reached
    worker.process.cutOff = port
    held.open()
    await world.event(run, 'finish')
    await sleep(150)
    worker.process.cutOff = undefined
    assert.equal((await world.over(run)).data.cause, 'completed')
    const slice = await world.store.logs.read(run.run_id, 0, 100)
    assert.equal(new TextDecoder().decode(slice?.data), 'output')
  })
}

test('store away while a run is being taken up: the job comes again', async (t) => {
  const world = await openWorld(t, ({ events }) => agent(events))
  const worker = world.worker()
  worker.process.cutOff = 'runs.get'
  worker.consume()
  const run = await world.generate()
  await sleep(60)
  worker.process.cutOff = undefined
  assert.equal((await world.over(run)).data.cause, 'completed')
})

test('an answer that the store loses is asked for again: the document is settled once', async (t) => {
  const world = await openWorld(t, ({ events }) => agent(events))
  const worker = world.worker()
  const dead = worker.process.dieAt('after', patches('state', 'finished'))
  worker.consume()
  const run = await world.generate()
  await dead
  await world.over(run)
  const before = await world.run(run)
  assert.deepEqual(await world.worker().handle(run), { kind: 'done', result: before.result })
  assert.deepEqual(await world.run(run), before)
})

test('finish stored and its answer lost: the next owner ends with the same finish', async (t) => {
  const world = await openWorld(t, () => hangs)
  const worker = world.worker()
  const dead = worker.process.dieAt('after', appends('finish'))
  worker.consume()
  const run = await world.generate()
  await world.event(run, 'running')
  await cancelRun(world.store, await world.run(run), 'api')
  await dead
  await world.forget(run)
  await world.worker().handle(run)
  assert.equal((await world.over(run)).data.cause, 'cancelled')
})
