import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Run } from '#contracts/run.ts'
import { agent, gate } from '../../fakes/scripted-agent.ts'
import { createScriptedEngine } from '../../fakes/scripted-engine.ts'
import { named } from '../../fakes/scripted-process.ts'
import { hangs, ignoresTerm } from '../../fakes/scripted-runners.ts'
import { waitFor } from '../../helpers.ts'
import { checkOver } from '../check-over.ts'
import { openWorld, type World } from '../world.ts'

const on = (run: Run) => ({ session_id: run.session_id, workspace_id: run.workspace_id })

/** A run whose engine has lost all its workers while the container goes on. */
const orphanedRun = async (world: World): Promise<Run> => {
  const worker = world.worker()
  worker.consume()
  const run = await world.generate()
  await world.event(run, 'running')
  worker.die()
  world.queue.forget()
  await world.forget(run)
  return run
}

test('V8: two sessions on one workspace: what an outage left behind is gone before the next one starts', async (t) => {
  let first: Run | undefined
  const beside: boolean[] = []
  const world = await openWorld(t, ({ events }) => (self) => {
    if (self.spec.run_id === first?.run_id) return ignoresTerm(self)
    beside.push(world.engine.box(first?.run_id ?? '') !== undefined)
    return agent(events)(self)
  })
  const worker = world.worker()
  worker.consume()
  const run = await world.generate({ options: { timeout_seconds: 1 } })
  first = run
  await world.event(run, 'running')
  world.engine.goAway()
  const ended = await waitFor(async () => (await world.run(run)).state === 'finished' && world.run(run))
  assert.equal(checkOver(await world.log(run), ended).data.cause, 'engine_unavailable')
  assert.equal(ended.container_gone, false, 'the removal is owed')
  world.engine.comeBack()

  const next = await world.generate({ workspace_id: run.workspace_id })
  await world.event(next, 'starting')
  assert(world.engine.box(run.run_id)?.info().running, 'it still works, under another name')
  await worker.reconcile()
  assert.equal((await world.over(next)).data.cause, 'completed')
  assert.deepEqual(beside, [false])
  await world.over(run)
})

test('rule 7 / V9: a worker of another engine takes nothing up that has a container elsewhere', async (t) => {
  const held = gate()
  const world = await openWorld(t, ({ events }) => agent(events, { beforeStep: held.hook }))
  const there = createScriptedEngine({ runner: agent(world.store.events) })
  const [here, other] = [world.worker(), world.worker({ engine: there })]
  here.consume()
  const run = await world.generate()
  await held.reached
  here.die()
  world.queue.forget()
  await world.forget(run)
  await world.store.runs.touchEngine('scripted')
  assert.equal((await other.handle(run)).kind, 'later')
  await other.reconcile()
  assert.equal((await world.run(run)).attempt, 1)
  assert.equal(there.boxes.length, 0)
  held.open()
  await world.worker().handle(run)
  assert.equal((await world.over(run)).data.cause, 'completed')
})

test('rule 7 / V9: the next run starts on the same engine only, until the container is gone', async (t) => {
  const world = await openWorld(t, ({ events }) => agent(events))
  const there = createScriptedEngine({ runner: agent(world.store.events) })
  const [here, other] = [world.worker(), world.worker({ engine: there })]
  const asleep = here.process.sleepAt('before', named('engine.remove'))
  here.consume()
  const run = await world.generate()
  await asleep
  world.engine.goAway()
  here.process.wake()
  const owed = await waitFor(async () => (await world.run(run)).state === 'finished' && world.run(run))
  assert.equal(owed.container_gone, false)
  world.engine.comeBack()
  world.queue.held = true
  const next = await world.generate(on(run))
  assert.equal((await other.handle(next)).kind, 'later')
  assert.equal((await world.run(next)).state, 'queued')
  await here.reconcile()
  await world.over(run)
  assert.equal((await other.handle(next)).kind, 'done')
  assert.equal(there.boxes.length, 1)
  await world.over(next)
})

test('rule 7: a run whose engine has no worker any more ends as worker_lost', async (t) => {
  const world = await openWorld(t, () => hangs)
  const run = await orphanedRun(world)
  const other = world.worker({ engine: createScriptedEngine(), timings: { engineLost: 1 } })
  await other.reconcile()
  const lost = await world.run(run)
  assert.equal(checkOver(await world.log(run), lost).data.cause, 'worker_lost')
  assert.equal(lost.container_gone, false)
})

test('rule 7: an engine that was seen lately is not lost', async (t) => {
  const world = await openWorld(t, () => hangs)
  const run = await orphanedRun(world)
  await world.store.runs.touchEngine('scripted')
  const done = await world.worker({ engine: createScriptedEngine() }).reconcile()
  assert.deepEqual(done.worker_lost, [])
  assert.equal((await world.run(run)).state, 'running')
})

test('rule 11 / V14: after a loss without proof of death the workspace stays closed for the quarantine', async (t) => {
  const world = await openWorld(t, () => hangs)
  const run = await orphanedRun(world)
  const there = createScriptedEngine({ runner: agent(world.store.events) })
  const other = world.worker({ engine: there, timings: { engineLost: 1, quarantine: 400 } })
  const until = Date.now() + 400
  await other.reconcile()
  assert.equal((await world.run(run)).result?.cause, 'worker_lost')
  other.start()
  const next = await world.generate({ workspace_id: run.workspace_id })
  assert.equal((await world.over(next)).data.cause, 'completed')
  const started = there.boxes[0]?.info().createdAt.getTime() ?? 0
  assert(started >= until, `started ${until - started} ms too early`)
})

test('rule 11: the engine that comes back removes what it owes, and the workspace is open at once', async (t) => {
  const world = await openWorld(t, () => hangs)
  const run = await orphanedRun(world)
  const other = world.worker({ engine: createScriptedEngine(), timings: { engineLost: 1 } })
  await other.reconcile()
  const back = world.worker()
  await back.reconcile()
  await world.over(run)
  world.queue.held = true
  const next = await world.generate(on(run))
  assert.equal((await world.store.runs.blockers(next)).length, 0)
})

test('rule 11: a container that vanished without proof of death closes its workspace for the quarantine', async (t) => {
  let first: Run | undefined
  const world = await openWorld(
    t,
    ({ events }) =>
      (self) =>
        self.spec.run_id === first?.run_id ? hangs(self) : agent(events)(self),
    { provesDeath: false },
  )
  const worker = world.worker({ timings: { quarantine: 400 } })
  worker.start()
  const run = await world.generate()
  first = run
  await world.event(run, 'running')
  const until = Date.now() + 400
  world.engine.lose(run.run_id, { alive: true })
  const ended = await waitFor(async () => (await world.run(run)).state === 'finished' && world.run(run))
  assert.equal(checkOver(await world.log(run), ended).data.cause, 'container_lost')
  assert.equal(ended.container_gone, false)
  const next = await world.generate({ workspace_id: run.workspace_id })
  assert.equal((await world.over(next)).data.cause, 'completed')
  const started = world.engine.boxes[1]?.info().createdAt.getTime() ?? 0
  assert(started >= until, `started ${until - started} ms too early`)
  await waitFor(async () => (await world.run(run)).container_gone, { what: 'the end of the quarantine' })
})

test('rule 11: what never began, or ended before all eyes, closes nothing', async (t) => {
  const world = await openWorld(t, ({ events }) => agent(events), { provesDeath: false })
  const worker = world.worker()
  worker.consume()
  const run = await world.generate()
  await world.over(run)
  assert.equal((await world.run(run)).quarantine_until, undefined)
})

test('a removal that a lost engine owes does not close its workspace for ever', async (t) => {
  const world = await openWorld(t, ({ events }) => agent(events))
  const here = world.worker()
  here.consume()
  const run = await world.generate()
  await world.over(run)
  const owed = { container_gone: false, seen_at: new Date(0) }
  await world.store.runs.transition(run.run_id, { attempt: 1, from: ['finished'] }, owed)
  here.die()
  const other = world.worker({ engine: createScriptedEngine(), timings: { engineLost: 1, quarantine: 50 } })
  assert.deepEqual((await other.reconcile()).worker_lost, [run.run_id])
  await waitFor(async () => (await other.reconcile()).released.length > 0)
  assert.equal((await world.run(run)).container_gone, true)
})
