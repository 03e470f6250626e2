import assert from 'node:assert/strict'
import { test } from 'node:test'
import { agent, gate } from '../fakes/scripted-agent.ts'
import { named } from '../fakes/scripted-process.ts'
import { sleep, waitFor } from '../helpers.ts'
import { openWorld } from './world.ts'

/** Longer than a job takes from the API to a worker on the slowest machine. */
const A_WHILE = 60_000

test('a crowd that comes to free places starts at once, however slowly its jobs are offered', async (t) => {
  const world = await openWorld(t, ({ events }) => agent(events))
  const worker = world.worker({ config: { concurrency: 6 } })
  t.mock.timers.enable({ apis: ['Date'], now: Date.now() + 1 })
  const runs = await Promise.all(Array.from({ length: 6 }, () => world.generate({ created_at: new Date() })))
  t.mock.timers.setTime(Date.now() + A_WHILE)
  worker.consume()
  for (const run of runs) await world.over(run)
  const looks = worker.process.calls.filter(named('runs.waitingTenants'))
  assert.equal(looks.length, 0, 'nobody was before them: each was taken up beside the others, not in turn')
})

test('what came while every place was taken takes turns', async (t) => {
  const held = gate()
  const started: string[] = []
  const world = await openWorld(t, ({ events }) =>
    agent(events, {
      beforeStart: (self) => void started.push(self.job().tenant_id),
      beforeStep: held.hook,
    }),
  )
  world.worker({ config: { concurrency: 1 } }).consume()
  const runs = [await world.generate({ created_at: new Date(), tenant_id: 'flood' })]
  await held.reached
  for (const tenant_id of ['flood', 'flood', 'flood', 'flood', 'other']) {
    runs.push(await world.generate({ created_at: new Date(), tenant_id }))
  }
  held.open()
  for (const run of runs) await world.over(run)
  assert.ok(started.indexOf('other') <= 2, started.join())
})

test('far from the limit of its memory, a worker sums up once for a crowd what is at work', async (t) => {
  const world = await openWorld(t, ({ events }) => agent(events))
  const worker = world.worker({ config: { concurrency: 12, memoryBytes: 1_000 } })
  t.mock.timers.enable({ apis: ['Date'], now: Date.now() + 1 })
  const runs = await Promise.all(Array.from({ length: 12 }, () => world.generate({ created_at: new Date() })))
  worker.consume()
  for (const run of runs) await world.over(run)
  const sums = worker.process.calls.filter(named('runs.memoryHeld'))
  assert.ok(sums.length > 0 && sums.length < runs.length, `${sums.length} sums`)
  assert.equal(worker.process.calls.filter(named('runs.active')).length, 0, 'and looks at none of it')
})

for (const [name, age] of [
  ['fresh', 0],
  ['waiting', A_WHILE],
] as const) {
  test(`${name} runs that come at once take no more memory than others have left`, async (t) => {
    const held = gate()
    const world = await openWorld(t, ({ events }) => agent(events, { beforeStep: held.hook }))
    world.worker({ config: { concurrency: 2 } }).consume()
    const runs = [await world.generate(), await world.generate()]
    await waitFor(() => world.engine.boxes.length === 2)
    const worker = world.worker({ config: { concurrency: 8, memoryBytes: 4 } })
    // Newer than this worker's last crowd, by a clock of milliseconds.
    await sleep(5)
    const created_at = new Date(Date.now() - age)
    runs.push(...(await Promise.all(Array.from({ length: 4 }, () => world.generate({ created_at })))))
    worker.consume()
    await waitFor(() => world.engine.boxes.length >= 4)
    await sleep(200)
    assert.equal(world.engine.boxes.length, 4, 'two more, of four')
    held.open()
    for (const run of runs) await world.over(run)
  })
}
