import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Run } from '#contracts/run.ts'
import { sandboxSpec } from '#scheduler/sandbox-spec.ts'
import { cancelRun } from '#store/cancel-run.ts'
import { newRunOf } from '../../conformance/store-world.ts'
import { agent, gate } from '../../fakes/scripted-agent.ts'
import { named } from '../../fakes/scripted-process.ts'
import { exits, hangs } from '../../fakes/scripted-runners.ts'
import { waitFor } from '../../helpers.ts'
import type { ScriptedWorker } from '../scripted-worker.ts'
import { openWorld, type World } from '../world.ts'

/** A run that works, and whose worker dies. */
const orphan = async (world: World): Promise<Run> => {
  const worker = world.worker()
  worker.consume()
  const run = await world.generate()
  await world.event(run, 'running')
  worker.die()
  world.queue.forget()
  return run
}

test('rule 10 / V13: the only slot waits for a container whose owner sleeps, and reconcile frees it', async (t) => {
  const world = await openWorld(t, ({ events }) => agent(events))
  const sleeper = world.worker({ deaf: true, timings: { heartbeat: 60_000 }, config: { concurrency: 1 } })
  const asleep = sleeper.process.sleepAt('before', named('engine.remove'))
  sleeper.consume()
  const run = await world.generate()
  await asleep
  const { session_id, workspace_id } = run
  world.worker({ config: { concurrency: 1 } }).start()
  const next = await world.generate({ session_id, workspace_id })
  await world.event(next, 'starting')
  await world.forget(run)
  assert.equal((await world.over(next)).data.cause, 'completed')
  await world.over(run)
})

test('rule 10: an owner that lives is left alone, and nobody outbids its attempt', async (t) => {
  const held = gate()
  const world = await openWorld(t, ({ events }) => agent(events, { beforeStep: held.hook }))
  world.worker().consume()
  const run = await world.generate()
  await held.reached
  const others = [world.worker(), world.worker()]
  for (let n = 0; n < 5; n++) {
    const done = await Promise.all(others.map((other) => other.reconcile()))
    assert.deepEqual(
      done.flatMap((one) => Object.values(one).flat()),
      [],
    )
  }
  const { attempt, owner } = await world.run(run)
  assert.deepEqual([attempt, owner], [1, 'worker-1'])
  held.open()
  await world.over(run)
})

test('rule 10: what is younger than the grace is left alone', async (t) => {
  const world = await openWorld(t, () => hangs)
  const accepted = await world.store.runs.accept(newRunOf())
  assert(accepted.outcome === 'accepted')
  const spec = sandboxSpec({ ...accepted.run, ...newRunOf() }, world.worker().ctx.config)
  await world.engine.start(spec, () => '{}\n', AbortSignal.timeout(5_000))
  const done = await world.worker({ timings: { reconcileGrace: 60_000 } }).reconcile()
  assert.deepEqual(Object.values(done).flat(), [])
  assert.equal(world.engine.boxes.length, 1)
})

const agentThatStays = ({ events }: World['store']) => agent(events, { beforeStep: () => new Promise(() => {}) })

type Case = { readonly kind: string; readonly make: (world: World) => Promise<Run>; readonly cause?: string }

const CASES: Record<string, Case> = {
  'a queued run without a job': {
    kind: 'enqueued',
    async make(world) {
      const run = await world.generate()
      world.queue.forget()
      return run
    },
  },
  'a run whose owner died while it works': {
    kind: 'enqueued',
    async make(world) {
      const run = await orphan(world)
      await world.forget(run)
      return run
    },
  },
  'a queued run whose time is over': {
    kind: 'queue_timeout',
    cause: 'queue_timeout',
    make: (world) => world.generate({ queue_deadline_at: new Date(0) }),
  },
  'a run without an owner whose cancel is in the log': {
    kind: 'ended',
    cause: 'cancelled',
    async make(world) {
      const run = await orphan(world)
      await cancelRun(world.store, await world.run(run), 'api')
      await world.forget(run)
      return run
    },
  },
  'a run without an owner whose container is gone': {
    kind: 'ended',
    cause: 'container_lost',
    async make(world) {
      const run = await orphan(world)
      await world.event(run, 'agent_start')
      world.engine.lose(run.run_id)
      await world.forget(run)
      return run
    },
  },
  'a run without an owner whose deadline has passed': {
    kind: 'ended',
    cause: 'timeout',
    async make(world) {
      const run = await orphan(world)
      const past = { deadline_at: new Date(0), seen_at: new Date(0) }
      await world.store.runs.transition(run.run_id, { attempt: 1, from: ['running'] }, past)
      return run
    },
  },
  'a finished run whose container is still there': {
    kind: 'removed',
    cause: 'cancelled',
    async make(world) {
      const worker = world.worker()
      worker.consume()
      const run = await world.generate()
      await world.event(run, 'running')
      const asleep = worker.process.sleepAt('before', named('engine.remove'))
      await cancelRun(world.store, await world.run(run), 'api')
      await asleep
      world.engine.goAway()
      worker.process.wake()
      await waitFor(async () => (await world.run(run)).state === 'finished')
      world.engine.comeBack()
      return run
    },
  },
}

for (const [what, { kind, make, cause }] of Object.entries(CASES)) {
  test(`reconcile: ${what} → ${kind}; the dry run says so and does nothing`, async (t) => {
    const world = await openWorld(t, agentThatStays)
    const run = await make(world)
    const [before, log] = [await world.run(run), await world.log(run)]
    const calls = world.engine.calls.length
    const dry = await world.worker({ config: { reconcileDryRun: true } }).reconcile()
    assert.deepEqual(dry[kind as keyof typeof dry], [run.run_id])
    assert.deepEqual(await world.run(run), before)
    assert.deepEqual(await world.log(run), log)
    assert.equal(world.engine.calls.length, calls)
    assert.equal((await world.queue.stats()).waiting, kind === 'enqueued' || before.attempt > 0 ? 0 : 1)

    const done = await world.worker().reconcile()
    assert.deepEqual(done[kind as keyof typeof done], [run.run_id])
    assert.deepEqual(done.failed, [])
    if (cause) assert.equal((await world.over(run)).data.cause, cause)
    else assert.equal((await world.queue.stats()).waiting, 1)
  })

  test(`reconcile: ${what}: two at once do it once`, async (t) => {
    const world = await openWorld(t, agentThatStays)
    const run = await make(world)
    const both: ScriptedWorker[] = [world.worker(), world.worker()]
    const done = await Promise.all(both.map((one) => one.reconcile()))
    assert.deepEqual(
      done.flatMap(({ failed }) => failed),
      [],
    )
    if (cause) assert.equal((await world.over(run)).data.cause, cause)
    else assert.equal((await world.queue.stats()).waiting, 1)
  })
}

test('reconcile: a container that belongs to no run is removed', async (t) => {
  const world = await openWorld(t, () => hangs)
  const worker = world.worker()
  const unknown = { ...newRunOf(), state: 'queued', attempt: 0 } as unknown as Run
  await world.engine.start(sandboxSpec(unknown, worker.ctx.config), () => '{}\n', AbortSignal.timeout(5_000))
  await worker.reconcile()
  assert.equal(world.engine.box(unknown.run_id), undefined)
})

test('reconcile: a run that somebody took up only to end it, and died, is ended without an engine', async (t) => {
  const world = await openWorld(t, () => hangs)
  const run = await world.generate({ queue_deadline_at: new Date(Date.now() + 50) })
  const dead = { state: 'starting', attempt: 1, owner: 'api', seen_at: new Date(0) } as const
  await world.store.runs.transition(run.run_id, { attempt: 0, from: ['queued'] }, dead)
  world.engine.goAway()
  const worker = world.worker()
  await waitFor(async () => (await worker.reconcile()).queue_timeout.length > 0)
  assert.equal((await world.over(run)).data.cause, 'queue_timeout')
})

test('a run that somebody took up only to end it may still be worked on, and then it has a container to lose', async (t) => {
  const world = await openWorld(t, () => hangs)
  const run = await world.generate()
  const dead = { state: 'starting', attempt: 1, owner: 'api', seen_at: new Date(0) } as const
  await world.store.runs.transition(run.run_id, { attempt: 0, from: ['queued'] }, dead)
  world.worker().consume()
  await world.event(run, 'running')
  assert.equal((await world.run(run)).container_gone, false)
  world.engine.box(run.run_id)?.end(1)
  assert.equal((await world.over(run)).data.cause, 'container_exited')
})

test('reconcile: one run that cannot be mended does not keep the others from it', async (t) => {
  const world = await openWorld(t, () => exits(0))
  const [bad, good] = [await world.generate(), await world.generate()]
  world.queue.forget()
  const worker = world.worker()
  const enqueue = worker.ctx.queue.enqueue
  Object.assign(worker.ctx, {
    queue: {
      ...worker.ctx.queue,
      enqueue: async (job: Parameters<typeof enqueue>[0]) => {
        if (job.run_id === bad.run_id) throw new Error('scripted')
        return enqueue(job)
      },
    },
  })
  const done = await worker.reconcile()
  assert.deepEqual(done.failed, [bad.run_id])
  assert.equal(await world.queue.remove(good.run_id), true)
})
