import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import type { Run } from '#contracts/run.ts'
import { chooseImage } from '#scheduler/choose-image.ts'
import { agent, gate } from '../fakes/scripted-agent.ts'
import { hangs } from '../fakes/scripted-runners.ts'
import { openWorld, type World } from './world.ts'

const NEXT = 'mgx:next'
const workspaces = Array.from({ length: 10_000 }, (_, n) => ({ tenant_id: 'default', workspace_id: `w-${n}` }))

const canaries = (weight: number): string[] =>
  workspaces
    .filter((run) => chooseImage(run, { image: 'mgx:1', canary: { image: NEXT, weight } }).name === NEXT)
    .map(({ workspace_id }) => workspace_id)

test('the weight is the share of the workspaces, and whoever has the canary keeps it while it grows', () => {
  assert.deepEqual(chooseImage({ tenant_id: 't', workspace_id: 'w' }, { image: 'a' }), { name: 'a', track: 'stable' })
  let before: string[] = []
  for (const weight of [1, 5, 20, 50, 99]) {
    const now = canaries(weight)
    // Six standard deviations of a fair draw at most.
    const spread = 6 * Math.sqrt(weight * (100 - weight))
    assert.ok(Math.abs(now.length - weight * 100) < spread, `${weight} %: ${now.length} of 10000`)
    assert.deepEqual(new Set([...before, ...now]), new Set(now))
    before = now
  }
  assert.equal(canaries(100).length, workspaces.length)
})

const canary = { canary: { image: NEXT, weight: 100 } }
const imageOf = (world: World, { run_id }: Run) => world.engine.boxes.findLast(({ spec }) => spec.run_id === run_id)

const openHanging = (t: TestContext) => openWorld(t, () => hangs)

test('a run gets the canary image, and its runner and its document know it', async (t) => {
  const world = await openHanging(t)
  world.worker({ config: canary }).consume()
  const run = await world.generate()
  await world.event(run, 'running')
  const spec = imageOf(world, run)?.spec
  assert.deepEqual([spec?.image, spec?.env.AGENT_IMAGE, spec?.env.AGENT_IMAGE_TRACK], [NEXT, NEXT, 'canary'])
  assert.deepEqual((await world.run(run)).image, { name: NEXT, track: 'canary' })
})

test('after a rollback a run that was taken up before keeps its image, the next one gets the stable one', async (t) => {
  const held = gate()
  const world = await openWorld(t, ({ events }) => agent(events), { beforeStart: held.hook })
  const first = world.worker({ config: canary, timings: { stale: 3_600_000 } })
  first.consume()
  const run = await world.generate()
  await held.reached
  const stopping = first.stop()
  held.open()
  await stopping
  world.worker().consume()
  await world.over(run)
  assert.equal((await world.run(run)).attempt, 2)
  const images = world.engine.boxes.flatMap(({ spec }) => (spec.run_id === run.run_id ? [spec.image] : []))
  assert.deepEqual(new Set(images), new Set([NEXT]))
  const next = await world.generate({ session_id: run.session_id, workspace_id: run.workspace_id })
  await world.over(next)
  assert.deepEqual((await world.run(next)).image?.track, 'stable')
})

test('a canary run takes no container that waits: those are of the stable image', async (t) => {
  const world = await openWorld(t, ({ events }) => agent(events))
  const worker = world.worker({ config: canary })
  await worker.warm(1)
  worker.consume()
  const run = await world.generate()
  await world.over(run)
  const said = (await world.log(run)).flatMap((event) =>
    event.event_type === 'run_state' && event.data.state === 'starting' ? [event.data.miss] : [],
  )
  assert.deepEqual(said, ['canary'])
})
