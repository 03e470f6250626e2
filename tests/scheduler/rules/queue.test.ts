import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { NewEvent } from '#contracts/events.ts'
import { acceptRun } from '#store/accept-run.ts'
import { cancel, finish, newRunOf, stopping } from '../../conformance/store-world.ts'
import { agent, gate } from '../../fakes/scripted-agent.ts'
import { named } from '../../fakes/scripted-process.ts'
import { hangs } from '../../fakes/scripted-runners.ts'
import { openWorld } from '../world.ts'

const SAID: Record<string, [(run: Parameters<typeof cancel>[0]) => NewEvent, string]> = {
  cancel_requested: [cancel, 'cancelled'],
  stopping: [stopping, 'timeout'],
  finish: [finish, 'completed'],
}

for (const [what, [event, cause]] of Object.entries(SAID)) {
  test(`rule 9 / V13: a late job of a run with ${what} in its log starts nothing`, async (t) => {
    const world = await openWorld(t, ({ events }) => agent(events))
    const [first, second] = [world.worker(), world.worker()]
    const died = first.process.dieAt('before', named('engine.start'))
    first.consume()
    const run = await world.generate()
    await died
    await world.store.events.append(run.session_id, [event(run)])
    await world.forget(run)
    await second.handle(run)
    assert.equal((await world.over(run)).data.cause, cause)
    assert.equal(world.engine.boxes.length, 0)
  })
}

test('rule 9: a job that is over can be enqueued again, and finds nothing to do', async (t) => {
  const world = await openWorld(t, ({ events }) => agent(events))
  const worker = world.worker()
  worker.consume()
  const run = await world.generate()
  await world.over(run)
  const before = await world.run(run)
  const outcome = await worker.handle(run)
  assert.deepEqual(outcome, { kind: 'done', result: before.result })
  assert.deepEqual(await world.run(run), before)
})

test('rule 9: a queue that loses everything loses no run, queued or running', async (t) => {
  const held = gate()
  const world = await openWorld(t, ({ events }) => agent(events, { beforeStep: held.hook }))
  const first = world.worker({ config: { concurrency: 1 } })
  first.consume()
  const running = await world.generate()
  await held.reached
  const queued = await world.generate()
  world.queue.forget()
  first.die()
  world.queue.forget()
  await world.forget(running)
  held.open()
  world.worker().start()
  assert.equal((await world.over(running)).data.cause, 'completed')
  assert.equal((await world.over(queued)).data.cause, 'completed')
  assert.equal(world.engine.boxes.length, 2)
})

test('rule 9: every job offered three times, to two workers: one container each, one finish', async (t) => {
  const world = await openWorld(t, ({ events }) => agent(events))
  world.queue.copies = 3
  for (let n = 0; n < 2; n++) world.worker().start()
  const runs = await Promise.all(Array.from({ length: 5 }, () => world.generate()))
  for (const run of runs) {
    assert.equal((await world.over(run)).data.cause, 'completed')
    assert.equal((await world.run(run)).attempt, 1, 'nobody outbids an owner that lives')
  }
  assert.equal(world.engine.boxes.length, runs.length)
})

test('an API that dies between accept and enqueue: reconcile gives the hint', async (t) => {
  const world = await openWorld(t, ({ events }) => agent(events))
  const result = await acceptRun(world.store, newRunOf())
  assert(result.outcome === 'accepted')
  world.worker().start()
  assert.equal((await world.over(result.run)).data.cause, 'completed')
})

test('the job that reconcile enqueues is a hint: whose it is and where, and the prompt stays in the document', async (t) => {
  const world = await openWorld(t, () => hangs)
  const result = await acceptRun(world.store, newRunOf())
  assert(result.outcome === 'accepted')
  const worker = world.worker()
  await worker.reconcile()
  const call = worker.process.calls.find(({ name }) => name === 'queue.enqueue')
  const { run_id, session_id, tenant_id, workspace_id } = result.run
  assert.deepEqual(call?.args, [{ run_id, session_id, tenant_id, workspace_id }])
})

test('a job of a run that nobody knows is over', async (t) => {
  const world = await openWorld(t, () => hangs)
  const unknown = newRunOf()
  assert.deepEqual(await world.worker().handle(unknown as never), { kind: 'done' })
})
