import assert from 'node:assert/strict'
import { test } from 'node:test'
import { cancelRun } from '#store/cancel-run.ts'
import { newRunOf } from '../../conformance/store-world.ts'
import { agent, gate } from '../../fakes/scripted-agent.ts'
import { appends, createScriptedProcess, named } from '../../fakes/scripted-process.ts'
import { hangs, ignoresTerm } from '../../fakes/scripted-runners.ts'
import { scriptedStore } from '../../fakes/scripted-store.ts'
import { waitFor } from '../../helpers.ts'
import { openWorld } from '../world.ts'

test('rule 1 / V10: a container that an older owner starts while the run is being ended does no work', async (t) => {
  const world = await openWorld(t, ({ events }) => agent(events, { beforeStep: () => new Promise(() => {}) }))
  // Neither the log nor its own heartbeat tells the older one in time.
  const [older, newer] = [world.worker({ deaf: true, timings: { heartbeat: 60_000 } }), world.worker()]
  const asleep = older.process.sleepAt('before', named('engine.start'))
  older.consume()
  const run = await world.generate()
  await asleep
  await world.forget(run)
  await cancelRun(world.store, await world.run(run), 'api')
  const ending = newer.process.sleepAt('before', appends('finish'))
  const ended = newer.handle(run)
  await ending
  older.process.wake()
  await waitFor(() => world.engine.boxes[0]?.exit, { what: 'the late container to leave' })
  newer.process.wake()
  await ended
  assert.equal((await world.over(run)).data.cause, 'cancelled')
  assert(!(await world.log(run)).some((event) => event.event_type === 'agent_start'), 'it never began')
})

test('rule 1: the first stopping fixes the cause, also over the crash of its writer', async (t) => {
  const world = await openWorld(t, () => ignoresTerm)
  const [first, second] = [world.worker(), world.worker()]
  const dead = first.process.dieAt('after', appends('stopping'))
  first.consume()
  const run = await world.generate({ options: { timeout_seconds: 1 } })
  await dead
  world.engine.box(run.run_id)?.end(1)
  await world.forget(run)
  await second.handle(run)
  const finish = await world.over(run)
  assert.equal(finish.data.cause, 'timeout')
  assert.equal(finish.data.error, 'Agent task timeout after 1 seconds')
})

test('rule 1: nothing is asked of the engine before stopping is in the log', async (t) => {
  const world = await openWorld(t, () => hangs)
  const worker = world.worker()
  worker.consume()
  const run = await world.generate()
  await world.event(run, 'running')
  const asleep = worker.process.sleepAt('before', appends('stopping'))
  await cancelRun(world.store, await world.run(run), 'api')
  await asleep
  assert(!world.engine.calls.some(({ call }) => call === 'stop'))
  worker.process.wake()
  assert.equal((await world.over(run)).data.cause, 'cancelled')
})

test('rule 2 / V1: a cancelled queued run gets its finish wherever the API dies', async (t) => {
  const outcomes: string[] = []
  for (let step = 0; ; step++) {
    const world = await openWorld(t, ({ events }) => agent(events))
    const api = createScriptedProcess()
    t.after(() => api.bury())
    const run = await world.generate()
    const seen = () => api.calls.length > step
    const died = api.dieAt('before', seen)
    const answered = cancelRun(scriptedStore(world.store, api), run, 'api').catch(() => {})
    const first = await Promise.race([died.then(() => 'died'), answered.then(() => 'answered')])
    if ((await world.run(run)).state === 'starting') await world.forget(run)
    world.worker().start()
    const { cause } = (await world.over(run)).data
    const asked = (await world.log(run)).some((event) => event.event_type === 'cancel_requested')
    assert.equal(cause, asked ? 'cancelled' : 'completed')
    outcomes.push(cause)
    if (first === 'answered') break
  }
  assert(outcomes.length > 5, `died at ${outcomes.length} places`)
  assert.deepEqual([outcomes[0], outcomes.at(-1)], ['completed', 'cancelled'])
})

test('rule 2 / V4: the worker sees the exit before the finish, and the document says what the log says', async (t) => {
  const world = await openWorld(t, ({ events }) => agent(events))
  world.worker({ deaf: true }).consume()
  const run = await world.generate()
  assert.equal((await world.over(run)).data.cause, 'completed')
  assert.equal((await world.run(run)).result?.status, 'success')
  assert(!(await world.log(run)).some((event) => event.event_type === 'run_state' && event.data.state === 'stopping'))
})

test('rule 2: a queued run whose time is over ends in the log as well', async (t) => {
  const world = await openWorld(t, () => hangs)
  const run = await world.generate({ queue_deadline_at: new Date(Date.now() - 1) })
  await world.worker().reconcile()
  const finish = await world.over(run)
  assert.equal(finish.data.cause, 'queue_timeout')
  assert.equal(finish.data.status, 'timeout')
  assert.equal(world.engine.boxes.length, 0)
})

test('rule 2: the document is not finished while finish is not in the log', async (t) => {
  const world = await openWorld(t, () => hangs)
  const worker = world.worker()
  worker.consume()
  const run = await world.generate()
  await world.event(run, 'running')
  const asleep = worker.process.sleepAt('before', appends('finish'))
  await cancelRun(world.store, await world.run(run), 'api')
  await asleep
  assert.equal((await world.run(run)).state, 'running')
  worker.process.wake()
  await world.over(run)
})

test('rule 4 / V5: user_message is first though a worker was quicker than the API that dies', async (t) => {
  const world = await openWorld(t, ({ events }) => agent(events))
  const accepted = await world.store.runs.accept(newRunOf())
  assert(accepted.outcome === 'accepted')
  world.worker().start()
  assert.equal((await world.over(accepted.run)).data.cause, 'completed')
  assert.equal((await world.log(accepted.run))[0]?.event_type, 'user_message')
})

test('rule 4 / V5: every ender writes a missing user_message', async (t) => {
  const world = await openWorld(t, () => hangs)
  const late = await world.store.runs.accept(newRunOf({ queue_deadline_at: new Date(0) }))
  assert(late.outcome === 'accepted')
  await world.worker().reconcile()
  await world.over(late.run)
  const cancelled = await world.store.runs.accept(newRunOf())
  assert(cancelled.outcome === 'accepted')
  await cancelRun(world.store, cancelled.run, 'api')
  await world.over(cancelled.run)
})

test('V11: what slips in between a look and the closing is closed too', async (t) => {
  const held = gate()
  const script = {
    steps: 2,
    onTerm: 'ignore',
    beforeStep: (step: number) => (step === 0 ? held.hook() : hangsOn),
  } as const
  const hangsOn = new Promise<void>(() => {})
  const world = await openWorld(t, ({ events }) => agent(events, script))
  const worker = world.worker()
  worker.consume()
  const run = await world.generate()
  await held.reached
  const asleep = worker.process.sleepAt('before', appends('finish'))
  world.engine.lose(run.run_id, { alive: true })
  await asleep
  // The ghost ends one tool: it is closed already in what the worker is about to write.
  held.open()
  await world.event(run, 'tool_end')
  worker.process.wake()
  assert.equal((await world.over(run)).data.cause, 'container_lost')
})
