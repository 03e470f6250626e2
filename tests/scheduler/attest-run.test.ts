import assert from 'node:assert/strict'
import { test } from 'node:test'
import { agent, gate } from '../fakes/scripted-agent.ts'
import { startFailure } from '../fakes/scripted-world.ts'
import { waitFor } from '../helpers.ts'
import { openWorld, type World } from './world.ts'

/** An agent that ends when the test says so. */
const held = async (t: Parameters<typeof openWorld>[0]) => {
  const open = gate()
  const world = await openWorld(t, ({ events }) => agent(events, { beforeStep: open.hook }))
  return { world, letGo: open.open }
}

const attested = (world: World, run: Parameters<World['run']>[0]) =>
  waitFor(async () => (await world.run(run)).attestation, { what: 'the attestation' })

test('what holds a container is stored with its run while it is at work, and stays', async (t) => {
  const { world, letGo } = await held(t)
  world.worker().consume()
  const run = await world.generate()
  const { checks, ...rest } = await attested(world, run)
  assert.equal((await world.run(run)).state, 'running')
  assert.ok(checks.length > 10)
  assert.deepEqual(
    [rest.run_id, rest.container_id, rest.image, rest.engine, rest.source, rest.ok],
    [run.run_id, world.engine.box(run.run_id)?.containerId, 'mgx:test', 'scripted', 'none', false],
  )
  letGo()
  await world.over(run)
  assert.deepEqual((await world.run(run)).attestation, { checks, ...rest })
})

test('a worker that adopts a run leaves what was read at its start', async (t) => {
  const { world, letGo } = await held(t)
  const first = world.worker()
  first.consume()
  const run = await world.generate()
  const before = await attested(world, run)
  first.die()
  await world.forget(run)
  world.worker().consume()
  await waitFor(async () => (await world.run(run)).attempt === 2, { what: 'the second worker' })
  letGo()
  await world.over(run)
  assert.deepEqual((await world.run(run)).attestation, before)
})

test('an engine that cannot say it, or never answers, holds up no run', async (t) => {
  for (const attest of [
    async () => {
      throw startFailure('engine_unavailable')
    },
    () => new Promise<never>(() => {}),
    async () => undefined,
  ]) {
    const world = await openWorld(t, ({ events }) => agent(events))
    Object.assign(world.engine, { attest })
    world.worker().consume()
    const run = await world.generate()
    assert.equal((await world.over(run)).data.cause, 'completed')
    assert.equal((await world.run(run)).attestation, undefined)
  }
})
