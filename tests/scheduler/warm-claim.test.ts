import assert from 'node:assert/strict'
import { describe, type TestContext, test } from 'node:test'
import type { WorkerConfig } from '#scheduler/worker-context.ts'
import type { RunStore } from '#store/run-store.ts'
import { agent, gate } from '../fakes/scripted-agent.ts'
import { appends, type Call, named, patches } from '../fakes/scripted-process.ts'
import { waitFor } from '../helpers.ts'
import { begun, checkHome, fill, SHORT } from './warm-bench.ts'
import { openWorld } from './world.ts'

/** Every place of a claim at which its worker can die or fall asleep. */
const PLACES: Readonly<Record<string, (call: Call) => boolean>> = {
  'the look at the image': named('warm.key'),
  'the look at other containers': named('warm.isFree'),
  'the container in the document': patches('container_id'),
  'the announcement': appends('starting'),
  'the job line': named('slot.tell'),
  'the state running': patches('state', 'running'),
}

/** By a socket of their worker: what it says in the log comes before what they say, however late it is. */
const CHANNELS: Readonly<Record<string, Partial<WorkerConfig>>> = {
  direct: {},
  gateway: { channel: { kind: 'gateway' } },
}

const takenOver = async (
  t: TestContext,
  config: Partial<WorkerConfig>,
  how: 'dies' | 'sleeps',
  when: 'before' | 'after',
  call: (c: Call) => boolean,
) => {
  const world = await openWorld(t, ({ events }) => agent(events))
  const [first, second] = [world.worker({ timings: SHORT, config }), world.worker({ timings: SHORT, config })]
  await first.warm(1)
  await fill(world, 'ws')
  const there = how === 'dies' ? first.process.dieAt(when, call) : first.process.sleepAt(when, call)
  first.consume()
  const run = await world.generate({ workspace_id: 'ws' })
  await there
  if (how === 'dies') {
    first.die()
    world.engine.orphan()
  }
  world.queue.forget()
  await world.forget(run)
  await second.handle(run)
  if (how === 'sleeps') first.process.wake()
  const mended = async () => {
    await second.reconcile()
    return world.engine.box(run.run_id) === undefined
  }
  await waitFor(mended, { what: 'the container to be removed' })
  const { cause } = (await world.over(run)).data
  assert.equal(cause, 'completed')
  const agents = (await world.log(run)).filter((event) => event.event_type === 'agent_start')
  assert.equal(agents.length, 1, 'one agent')
  assert.ok(begun(world) <= 2)
  const home = async () => {
    await second.reconcile()
    return await checkHome(world, run).then(
      () => true,
      () => false,
    )
  }
  await waitFor(home, { what: 'the workspace at home' })
}

describe('a worker that dies or sleeps in the middle of a claim', () => {
  for (const [channel, config] of Object.entries(CHANNELS)) {
    for (const [what, call] of Object.entries(PLACES)) {
      for (const how of ['dies', 'sleeps'] as const) {
        for (const when of ['before', 'after'] as const) {
          test(`${channel}: ${how} ${when} ${what}`, (t) => takenOver(t, config, how, when, call))
        }
      }
    }
  }
})

test('an owner that cannot write the document leaves the agent that it has told to the next one', async (t) => {
  const held = gate()
  const world = await openWorld(t, ({ events }) => agent(events, { beforeStep: held.hook }))
  const config = CHANNELS.gateway ?? {}
  const [first, second] = [world.worker({ config }), world.worker({ config })]
  await first.warm(1)
  const written = Promise.withResolvers<void>()
  const { store } = first.ctx
  const transition: RunStore['transition'] = async (id, expect, patch) => {
    if (patch.container_id !== undefined) await written.promise
    return store.runs.transition(id, expect, patch)
  }
  Object.assign(first.ctx, { store: { ...store, runs: { ...store.runs, transition } } })
  first.consume()
  const run = await world.generate()
  await held.reached
  await world.forget(run)
  const adopted = second.handle(run)
  await waitFor(async () => (await world.run(run)).owner === second.ctx.owner)
  written.resolve()
  await waitFor(() => !first.ctx.held.has(run.run_id), { what: 'the first one to find that the run is lost' })
  const box = world.engine.box(run.run_id)
  assert.ok(box !== undefined && box.exit === undefined, 'its container is left alone')
  held.open()
  await adopted
  assert.equal((await world.over(run)).data.cause, 'completed')
  assert.equal(begun(world), 1)
})
