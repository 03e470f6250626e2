import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { NewRun, Run } from '#contracts/run.ts'
import { acceptRun } from '#store/accept-run.ts'
import { cancelRun } from '#store/cancel-run.ts'
import { newRunOf } from '../conformance/store-world.ts'
import { agent, gate, lasting } from '../fakes/scripted-agent.ts'
import { named } from '../fakes/scripted-process.ts'
import { sleep, waitFor } from '../helpers.ts'
import { openWorld, type World } from './world.ts'

/** Long enough ago that its job says nothing about what came before it. */
const A_WHILE_AGO = 60_000

const generate = (world: World, of: Partial<NewRun> = {}): Promise<Run> =>
  world.generate({ created_at: new Date(Date.now() - A_WHILE_AGO), ...of })

const many = (world: World, n: number, of: Partial<NewRun> = {}): Promise<Run[]> =>
  Promise.all(Array.from({ length: n }, () => generate(world, of)))

/** Agents of short runs that note who was at work, and with how many others. */
const watched = () => {
  const started: Run['tenant_id'][] = []
  const now = new Map<string, number>()
  const most = new Map<string, number>()
  const add = (key: string, n: number) => {
    now.set(key, (now.get(key) ?? 0) + n)
    most.set(key, Math.max(most.get(key) ?? 0, now.get(key) ?? 0))
  }
  const enter = (tenant: string) => {
    started.push(tenant)
    for (const key of ['all', tenant]) add(key, 1)
  }
  const leave = (tenant: string) => {
    for (const key of ['all', tenant]) add(key, -1)
  }
  return { started, most, enter, leave }
}

const openWatched = async (t: Parameters<typeof openWorld>[0], stepMs = 5) => {
  const seen = watched()
  const world = await openWorld(t, ({ events }) =>
    agent(events, {
      beforeStart: (self) => seen.enter(self.job().tenant_id),
      beforeStep: lasting(stepMs),
      atLast: (self) => seen.leave(self.job().tenant_id),
    }),
  )
  return { world, ...seen }
}

test('never more runs at work than MAX_RUNNING_RUNS, over all workers, and every one comes to its turn', async (t) => {
  const { world, most } = await openWatched(t)
  const runs = await many(world, 24)
  for (let n = 0; n < 3; n++) world.worker({ config: { maxRunning: 2 } }).consume()
  for (const run of runs) assert.equal((await world.over(run)).data.cause, 'completed')
  assert.equal(most.get('all'), 2)
})

test('never more runs of a tenant at work than its limit, while others go on', async (t) => {
  const { world, most } = await openWatched(t)
  const runs = [...(await many(world, 8, { tenant_id: 'a' })), ...(await many(world, 8, { tenant_id: 'b' }))]
  const config = { maxRunningPerTenant: 1 }
  for (let n = 0; n < 2; n++) world.worker({ config }).consume()
  for (const run of runs) await world.over(run)
  assert.deepEqual([most.get('a'), most.get('b')], [1, 1])
})

test('a flood of one tenant does not keep the others waiting: they take turns', async (t) => {
  const { world, started } = await openWatched(t, 1)
  const flood = await many(world, 40, { tenant_id: 'flood' })
  const [b, c] = [await many(world, 4, { tenant_id: 'b' }), await many(world, 4, { tenant_id: 'c' })]
  world.worker({ config: { concurrency: 1 } }).consume()
  for (const run of [...flood, ...b, ...c]) await world.over(run)
  assert.equal(started.length, 48)
  for (const tenant of ['b', 'c']) {
    assert.ok(started.lastIndexOf(tenant) < 12, `${tenant}: ${started.slice(0, 20)}`)
  }
})

test('several workers with several places take turns as well: fewest at work first', async (t) => {
  const { world, started } = await openWatched(t, 1)
  const flood = await many(world, 60, { tenant_id: 'flood' })
  const small = await many(world, 6, { tenant_id: 'small' })
  for (let n = 0; n < 2; n++) world.worker({ config: { concurrency: 2 } }).consume()
  for (const run of [...flood, ...small]) await world.over(run)
  assert.ok(started.lastIndexOf('small') < 24, `${started.slice(0, 30)}`)
})

test('a higher priority goes first within its tenant, whatever the order of the jobs', async (t) => {
  const order: string[] = []
  const world = await openWorld(t, ({ events }) =>
    agent(events, { beforeStart: (self) => void order.push(self.job().prompt) }),
  )
  const runs: Run[] = []
  for (const priority of ['low', 'normal', 'high'] as const) {
    runs.push(await generate(world, { prompt: priority, options: { priority } }))
  }
  world.worker({ config: { concurrency: 1 } }).consume()
  for (const run of runs) await world.over(run)
  assert.deepEqual(order, ['high', 'normal', 'low'])
})

test('memory: what does not fit waits, and fails nothing', async (t) => {
  const { world, most } = await openWatched(t)
  const runs = await many(world, 9)
  const config = { memoryBytes: 3 }
  for (let n = 0; n < 2; n++) world.worker({ config: { ...config, concurrency: 1 } }).consume()
  const limits = { memoryBytes: 2, cpuQuota: 1, pids: 1, tmpBytes: 1 }
  world.worker({ config: { ...config, limits } }).consume()
  for (const run of runs) assert.equal((await world.over(run)).data.cause, 'completed')
  assert.ok((most.get('all') ?? 0) <= 3)
})

test('a crash leaks no permit: the dead one is adopted although the limit is reached, then the next one starts', async (t) => {
  const held = gate()
  const world = await openWorld(t, ({ events }) => agent(events, { beforeStep: held.hook }))
  const config = { maxRunning: 1, concurrency: 1 }
  const [first, second] = [world.worker({ config }), world.worker({ config })]
  first.consume()
  const running = await generate(world)
  await held.reached
  second.consume()
  const waiting = await many(world, 3)
  first.die()
  await world.forget(running)
  held.open()
  for (const run of [running, ...waiting]) assert.equal((await world.over(run)).data.cause, 'completed')
  assert.equal((await world.run(running)).attempt, 2)
  assert.equal((await world.run(running)).permit, null)
})

test('a dead one that holds the last permit is adopted for the job of any other run: its own may be lost', async (t) => {
  const held = gate()
  const world = await openWorld(t, ({ events }) => agent(events, { beforeStep: held.hook }))
  const config = { maxRunning: 1, concurrency: 1 }
  const [first, second] = [world.worker({ config }), world.worker({ config })]
  const normal = await generate(world)
  const high = await generate(world, { options: { priority: 'high' } })
  first.consume()
  await held.reached
  assert.equal((await world.run(normal)).state, 'queued')
  assert.equal(await world.queue.remove(high.run_id), true)
  first.die()
  await world.forget(high)
  second.consume()
  held.open()
  for (const run of [high, normal]) assert.equal((await world.over(run)).data.cause, 'completed')
})

test('a worker that dies between take-up and start holds its permit no longer than it takes to adopt its run', async (t) => {
  const world = await openWorld(t, ({ events }) => agent(events))
  const config = { maxRunning: 1 }
  const [first, second] = [world.worker({ config }), world.worker({ config })]
  const died = first.process.dieAt('before', named('engine.start'))
  first.consume()
  const run = await generate(world)
  const next = await generate(world)
  await died
  first.die()
  second.start()
  await world.forget((await world.run(run)).state === 'queued' ? next : run)
  for (const one of [run, next]) assert.equal((await world.over(one)).data.cause, 'completed')
})

test('a job in the hands of a worker that works on another run keeps nobody from its own run', async (t) => {
  const held = gate()
  const world = await openWorld(t, ({ events }) =>
    agent(events, { beforeStep: (_, self) => (self.job().prompt === 'first' ? held.hook() : undefined) }),
  )
  const normal = await generate(world, { prompt: 'second' })
  const high = await generate(world, { prompt: 'first', options: { priority: 'high' } })
  world.worker({ config: { concurrency: 1 } }).consume()
  await held.reached
  assert.equal((await world.run(normal)).state, 'queued')
  world.worker({ config: { concurrency: 1 } }).consume()
  assert.equal((await world.over(normal)).data.cause, 'completed')
  held.open()
  await world.over(high)
})

test('SIGTERM of a worker that waits for room hands its jobs back at once, and they are worked on elsewhere', async (t) => {
  const held = gate()
  const world = await openWorld(t, ({ events }) => agent(events, { beforeStep: held.hook }))
  const config = { maxRunning: 1 }
  const [first, second] = [world.worker({ config }), world.worker({ config })]
  first.consume()
  const runs = await many(world, 3)
  await held.reached
  second.consume()
  await waitFor(async () => (await world.queue.stats()).active >= 3)
  await second.stop()
  held.open()
  for (const run of runs) await world.over(run)
})

test('a run that is cancelled while it waits for room ends at once, and starts nothing', async (t) => {
  const held = gate()
  const world = await openWorld(t, ({ events }) => agent(events, { beforeStep: held.hook }))
  world.worker({ config: { maxRunning: 1 } }).consume()
  const first = await generate(world)
  await held.reached
  const second = await generate(world)
  await cancelRun(world.store, second, 'api')
  assert.equal((await world.over(second)).data.cause, 'cancelled')
  held.open()
  await world.over(first)
  assert.equal(world.engine.boxes.length, 1)
})

test('a hint for one run does for all: runs whose own hints are lost start with it', async (t) => {
  const { world } = await openWatched(t)
  const lost: Run[] = []
  for (let n = 0; n < 5; n++) {
    const accepted = await acceptRun(world.store, newRunOf({ created_at: new Date(Date.now() - A_WHILE_AGO) }))
    assert(accepted.outcome === 'accepted')
    lost.push(accepted.run)
  }
  const worker = world.worker({ config: { concurrency: 1 } })
  worker.consume()
  const last = await generate(world, { created_at: new Date() })
  await world.over(last)
  await sleep(50)
  const before = (await world.store.runs.queued(10)).length
  const hint = await generate(world)
  await waitFor(async () => (await world.store.runs.queued(10)).length < before + 1)
  worker.consume()
  await worker.reconcile()
  for (const run of [...lost, hint]) await world.over(run)
})
