import assert from 'node:assert/strict'
import { test } from 'node:test'
import { agent, gate } from '../../fakes/scripted-agent.ts'
import { type At, appends, type Call, named, patches } from '../../fakes/scripted-process.ts'
import { exits, hangs } from '../../fakes/scripted-runners.ts'
import { startFailure } from '../../fakes/scripted-world.ts'
import { sleep, waitFor } from '../../helpers.ts'
import type { ScriptedWorker } from '../scripted-worker.ts'
import { openWorld } from '../world.ts'

/** An owner that hears nothing while it sleeps, and has no heartbeat to tell it that it slept. */
const SLEEPER = { deaf: true, timings: { heartbeat: 60_000 } } as const

const STARTING = 'before it starts the container'

const PLACES: Record<string, [At, (call: Call) => boolean]> = {
  [STARTING]: ['before', named('engine.start')],
  'before it says that the run is running': ['before', patches('state', 'running')],
  'after it has seen the exit': ['after', named('engine.wait')],
  'before it keeps the exit facts': ['before', patches('exit')],
  'before it removes the container': ['before', named('engine.remove')],
  'before it says that the container is gone': ['before', patches('container_gone', true)],
  'before it finishes the document': ['before', patches('state', 'finished')],
}

const settled = async (worker: ScriptedWorker): Promise<void> => {
  await waitFor(() => worker.ctx.held.size === 0, { what: 'the handler to end' })
}

for (const [where, [when, call]] of Object.entries(PLACES)) {
  test(`rule 6: an owner that slept ${where} touches nothing of the next run`, async (t) => {
    const held = gate()
    let hold: string | undefined
    const world = await openWorld(t, ({ events }) =>
      agent(events, { beforeStep: (_step, { spec }) => (spec.run_id === hold ? held.hook() : undefined) }),
    )
    const [older, newer] = [world.worker(SLEEPER), world.worker()]
    const asleep = older.process.sleepAt(when, call)
    older.consume()
    const run = await world.generate()
    await asleep
    await world.forget(run)
    await newer.handle(run)
    await world.over(run)

    const { session_id, workspace_id } = run
    world.queue.held = true
    const next = await world.generate({ session_id, workspace_id })
    hold = next.run_id
    const working = newer.handle(next)
    await held.reached
    const [before, log] = [await world.run(run), await world.log(run)]
    older.process.wake()
    // A start waits, as it must, until the container of the next run is gone.
    if (where !== STARTING) await settled(older)
    assert(world.engine.box(next.run_id)?.info().running, "the next run's container is untouched")
    assert.deepEqual(await world.log(run), log)
    held.open()
    await working
    assert.equal((await world.over(next)).data.cause, 'completed')
    await settled(older)
    await newer.reconcile()
    await world.over(run)
    assert.deepEqual(await world.run(run), before, 'the document of the old run is untouched')
  })
}

test("rule 6: an older owner's late start does not remove the container of the newer one", async (t) => {
  const held = gate()
  const world = await openWorld(t, ({ events }) => agent(events, { beforeStart: held.hook }))
  const [older, newer] = [world.worker(SLEEPER), world.worker()]
  const asleep = older.process.sleepAt('before', named('engine.start'))
  older.consume()
  const run = await world.generate()
  await asleep
  await world.forget(run)
  const working = newer.handle(run)
  await held.reached
  older.process.wake()
  await settled(older)
  assert.equal(world.engine.boxes.length, 1)
  held.open()
  await working
  assert.equal((await world.over(run)).data.cause, 'completed')
})

test('rule 6: an older owner whose start failed does not end the run that a newer one has started', async (t) => {
  const held = gate()
  const sleepers: ScriptedWorker[] = []
  const world = await openWorld(t, ({ events }) => agent(events, { beforeStep: held.hook }), {
    beforeStart() {
      const sleeper = sleepers.shift()
      sleeper?.process.sleep()
      if (sleeper) throw startFailure('start_failed')
    },
  })
  const [older, newer] = [world.worker(SLEEPER), world.worker()]
  sleepers.push(older)
  older.consume()
  const run = await world.generate()
  await waitFor(() => sleepers.length === 0)
  await world.forget(run)
  const working = newer.handle(run)
  await held.reached
  older.process.wake()
  await settled(older)
  held.open()
  await working
  assert.equal((await world.over(run)).data.cause, 'completed')
})

test('rule 6: a heartbeat that fails ends the handler, though nothing happens to the run', async (t) => {
  const world = await openWorld(t, () => hangs)
  const [older, newer] = [world.worker(), world.worker()]
  older.consume()
  const run = await world.generate()
  await world.event(run, 'running')
  world.queue.held = true
  await world.forget(run)
  const working = newer.handle(run)
  await settled(older)
  const { attempt, owner } = await world.run(run)
  assert.deepEqual([attempt, owner], [2, newer.ctx.owner])
  assert(world.engine.box(run.run_id)?.info().running)
  world.engine.box(run.run_id)?.end(3)
  await working
  assert.equal((await world.over(run)).data.cause, 'container_exited')
})

test('one process never has two handlers of one run, however often the queue offers it', async (t) => {
  const world = await openWorld(t, ({ events }) => agent(events, { beforeStep: () => sleep(100) }))
  world.queue.copies = 3
  world.worker({ timings: { stale: 0 } }).consume()
  const run = await world.generate()
  await world.over(run)
  assert.equal((await world.run(run)).attempt, 1)
  assert.equal(world.engine.boxes.length, 1)
})

test('a worker that was taken over while it ended a run leaves the rest to the other', async (t) => {
  const world = await openWorld(t, () => exits(3))
  const [older, newer] = [world.worker(SLEEPER), world.worker()]
  const asleep = older.process.sleepAt('before', appends('finish'))
  older.consume()
  const run = await world.generate()
  await asleep
  world.queue.held = true
  await world.forget(run)
  await newer.handle(run)
  const before = await world.run(run)
  older.process.wake()
  await settled(older)
  assert.deepEqual(await world.run(run), before)
  assert.equal((await world.over(run)).data.error, 'Container exited with code 3 without FINISH event')
})
