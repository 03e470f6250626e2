import assert from 'node:assert/strict'
import { test } from 'node:test'
import { RUNNER_EXIT } from '#contracts/job.ts'
import { agent, gate } from '../../fakes/scripted-agent.ts'
import { named, patches } from '../../fakes/scripted-process.ts'
import { exits, type hangs, inTurn } from '../../fakes/scripted-runners.ts'
import { waitFor } from '../../helpers.ts'
import { openWorld } from '../world.ts'

const noJob = exits(RUNNER_EXIT.noJob)

test('rule 8 / V12: a container that vanished after agent_start is not replaced', async (t) => {
  const held = gate()
  const world = await openWorld(t, ({ events }) => agent(events, { beforeStep: held.hook }))
  const [first, second] = [world.worker(), world.worker()]
  first.consume()
  const run = await world.generate()
  await held.reached
  first.die()
  world.queue.forget()
  world.engine.lose(run.run_id)
  await world.forget(run)
  await second.handle(run)
  assert.equal((await world.over(run)).data.cause, 'container_lost')
  assert.equal(world.engine.boxes.length, 1)
})

test('rule 8: agent_start carries the id of its container, and the document knows the same', async (t) => {
  const world = await openWorld(t, ({ events }) => agent(events))
  world.worker().consume()
  const run = await world.generate()
  const start = await world.event(run, 'agent_start')
  assert(start.event_type === 'agent_start')
  await world.over(run)
  assert.equal(start.data.container_id, world.engine.boxes[0]?.containerId)
  assert.equal((await world.run(run)).container_id, start.data.container_id)
})

test('rule 8: an owner that died before its container began is followed by one that starts it', async (t) => {
  const world = await openWorld(t, ({ events }) => agent(events))
  const [first, second] = [world.worker(), world.worker()]
  const died = first.process.dieAt('before', named('engine.start'))
  first.consume()
  const run = await world.generate()
  await died
  await world.forget(run)
  await second.handle(run)
  assert.equal((await world.over(run)).data.cause, 'completed')
  const { token_hash, attempt } = await world.run(run)
  assert.equal(attempt, 2)
  assert(token_hash)
})

test('rule 8: a runner that got no job line is started once more, and the document counts it', async (t) => {
  const says =
    (text: string, next: typeof hangs): typeof hangs =>
    (self) => {
      self.print(text)
      return next(self)
    }
  const world = await openWorld(t, ({ events }) => inTurn(says('no job line\n', noJob), says('hello\n', agent(events))))
  world.worker().consume()
  const run = await world.generate()
  assert.equal((await world.over(run)).data.cause, 'completed')
  assert.equal((await world.run(run)).restarts, 1)
  assert.equal(world.engine.boxes.length, 2)
  const logs = [await world.store.logs.read(run.run_id, 0, 100)]
  logs.push(await world.store.logs.read(run.run_id, logs[0]?.data.length ?? 0, 100))
  assert.deepEqual(
    logs.map((slice) => new TextDecoder().decode(slice?.data)),
    ['no job line\n', 'hello\n'],
    'both are in the log, whole',
  )
})

test('rule 8: twice without a job line ends the run', async (t) => {
  const world = await openWorld(t, () => noJob)
  world.worker().consume()
  const run = await world.generate()
  const finish = await world.over(run)
  assert.equal(finish.data.cause, 'start_failed')
  assert.match(finish.data.error ?? '', /^Failed to create or monitor agent container: .*job line/)
  assert.equal(world.engine.boxes.length, 2)
})

test('rule 8: a stale owner removes the container that it saw, not the second one', async (t) => {
  const held = gate()
  const world = await openWorld(t, ({ events }) => inTurn(noJob, agent(events, { beforeStep: held.hook })))
  const [older, newer] = [world.worker({ deaf: true, timings: { heartbeat: 60_000 } }), world.worker()]
  const asleep = older.process.sleepAt('before', named('engine.remove'))
  older.consume()
  const run = await world.generate()
  await asleep
  await world.forget(run)
  const working = newer.handle(run)
  await held.reached
  older.process.wake()
  await waitFor(() => older.ctx.held.size === 0)
  assert(world.engine.box(run.run_id)?.info().running)
  held.open()
  await working
  assert.equal((await world.over(run)).data.cause, 'completed')
  assert.equal(world.engine.boxes.length, 2)
})

test('a deadline while the first container is being replaced, and the engine is away, ends the run', async (t) => {
  const world = await openWorld(t, () => noJob)
  const worker = world.worker()
  const asleep = worker.process.sleepAt('before', patches('restarts', 1))
  worker.consume()
  const run = await world.generate({ options: { timeout_seconds: 1 } })
  await asleep
  world.engine.goAway()
  worker.process.wake()
  assert.equal((await waitFor(async () => (await world.run(run)).result)).status, 'failed')
  world.engine.comeBack()
  await worker.reconcile()
  await world.over(run)
})
