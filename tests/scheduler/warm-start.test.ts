import assert from 'node:assert/strict'
import { lstat, mkdir, readdir, readFile, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, type TestContext, test } from 'node:test'
import type { SessionEvent } from '#contracts/events.ts'
import type { Run } from '#contracts/run.ts'
import type { WarmMiss } from '#contracts/warm.ts'
import { readSlots } from '#scheduler/claims.ts'
import { slotsDir } from '#scheduler/slot-paths.ts'
import type { WorkerConfig } from '#scheduler/worker-context.ts'
import type { RunStore } from '#store/run-store.ts'
import { agent, gate } from '../fakes/scripted-agent.ts'
import { appends, type Call, named, patches } from '../fakes/scripted-process.ts'
import { hangs } from '../fakes/scripted-runners.ts'
import { waitFor } from '../helpers.ts'
import { openWorld, type World } from './world.ts'

const SHORT = { handOff: 300 }

/** What the log says of how the run got its container. */
const starts = (log: readonly SessionEvent[], { run_id }: Run): string[] =>
  log.flatMap((event) =>
    event.run_id === run_id && event.event_type === 'run_state' && event.data.state === 'starting'
      ? [[event.data.reason, event.data.miss].filter((word) => word !== undefined).join(' ')]
      : [],
  )

const startsOf = async (world: World, run: Run): Promise<string[]> => starts(await world.log(run), run)

/** The workspace is a plain directory with this in it, and no slot of a run is left. */
const checkHome = async (world: World, run: Run, file = 'kept'): Promise<void> => {
  const home = join(world.root, run.workspace_id)
  assert.ok((await lstat(home)).isDirectory(), 'a plain directory')
  assert.equal(await readFile(join(home, file), 'utf8'), 'of before')
  const claims = await Promise.all(
    (await readSlots(world.root)).map(async (slot) =>
      (await readdir(join(slotsDir(world.root), slot))).includes('claim.json'),
    ),
  )
  assert.ok(!claims.includes(true), 'no claim is left')
}

const fill = async (world: World, workspaceId: string): Promise<void> => {
  await mkdir(join(world.root, workspaceId))
  await writeFile(join(world.root, workspaceId, 'kept'), 'of before')
}

const begun = (world: World) => world.engine.boxes.filter((box) => box.jobLine !== undefined).length

const missed = async (
  t: TestContext,
  miss: WarmMiss,
  spoil: (world: World, workspaceId: string) => Promise<void> | void,
) => {
  const world = await openWorld(t, ({ events }) => agent(events))
  const worker = world.worker()
  const pool = await worker.warm(1)
  await spoil(world, 'ws')
  worker.consume()
  const run = await world.generate({ workspace_id: 'ws' })
  const finish = await world.over(run)
  assert.equal((await startsOf(world, run)).at(-1), `cold ${miss}`)
  assert.deepEqual([pool.stats().hits, pool.stats().misses], [0, { [miss]: 1 }])
  return { world, run, finish }
}

describe('warm starts', () => {
  test('a run gets a container that was started ahead; its workspace is in it while it runs, and home after', async (t) => {
    const held = gate()
    const world = await openWorld(t, ({ events }) => agent(events, { beforeStep: held.hook }))
    const worker = world.worker()
    const pool = await worker.warm(1)
    await fill(world, 'ws')
    worker.consume()
    const run = await world.generate({ workspace_id: 'ws' })
    await held.reached
    const home = join(world.root, 'ws')
    assert.ok((await lstat(home)).isSymbolicLink())
    assert.equal(await readFile(join(home, 'kept'), 'utf8'), 'of before')
    assert.ok((await world.run(run)).container_id)
    held.open()
    assert.equal((await world.over(run)).data.cause, 'completed')
    assert.deepEqual(await startsOf(world, run), ['warm'])
    await checkHome(world, run)
    assert.equal(pool.stats().hits, 1)
    await waitFor(async () => pool.stats().ready === 1, { what: 'the slot to be replaced' })
  })

  test('a new workspace stays when its run is over, and the next run of the session goes on in it', async (t) => {
    const world = await openWorld(t, ({ events }) => async (self) => {
      await writeFile(join(self.spec.workspace.path, 'kept'), 'of before')
      return await agent(events)(self)
    })
    const worker = world.worker()
    await worker.warm(2)
    worker.consume()
    for (const _ of [1, 2]) {
      const run = await world.generate({ session_id: 's', workspace_id: 'new' })
      assert.equal((await world.over(run)).data.cause, 'completed')
      assert.deepEqual(await startsOf(world, run), ['warm'])
      await checkHome(world, run)
    }
  })

  test('no pool: cold, and the log says so', async (t) => {
    const world = await openWorld(t, ({ events }) => agent(events))
    world.worker().consume()
    const run = await world.generate()
    await world.over(run)
    assert.deepEqual(await startsOf(world, run), ['cold pool_off'])
  })

  test('an empty pool: cold; and larger for a while', async (t) => {
    const world = await openWorld(t, ({ events }) => agent(events))
    const worker = world.worker()
    const pool = await worker.warm(1)
    worker.consume()
    const runs = await Promise.all([world.generate(), world.generate()])
    for (const run of runs) await world.over(run)
    assert.deepEqual([pool.stats().hits, pool.stats().misses], [1, { pool_empty: 1 }])
    await waitFor(async () => pool.stats().ready === 2, { what: 'one slot more' })
  })

  test('another image since: the slot goes, the run starts cold, the pool begins anew', async (t) => {
    const { world, run, finish } = await missed(t, 'image_changed', ({ engine }) => engine.change())
    assert.equal(finish.data.cause, 'completed')
    assert.deepEqual(await startsOf(world, run), ['cold image_changed'])
  })

  test('a workspace that is a link to elsewhere is the error it is without a pool', async (t) => {
    const { finish } = await missed(t, 'workspace_elsewhere', ({ root }) => symlink('/tmp', join(root, 'ws')))
    assert.equal(finish.data.cause, 'workspace_unavailable')
  })

  test('a workspace that is a file likewise', async (t) => {
    const { finish } = await missed(t, 'workspace_elsewhere', ({ root }) => writeFile(join(root, 'ws'), ''))
    assert.equal(finish.data.cause, 'workspace_unavailable')
  })

  test('a slot that died a moment ago', async (t) => {
    const world = await openWorld(t, ({ events }) => agent(events))
    const worker = world.worker()
    await worker.warm(1)
    await fill(world, 'ws')
    const told = worker.process.sleepAt('before', named('slot.tell'))
    worker.consume()
    const run = await world.generate({ workspace_id: 'ws' })
    await told
    world.engine.orphan()
    worker.process.wake()
    assert.equal((await world.over(run)).data.cause, 'completed')
    assert.deepEqual(await startsOf(world, run), ['warm', 'cold handoff_failed'])
    await checkHome(world, run)
  })

  test('a slot whose agent does not begin is given up, once', async (t) => {
    let first = true
    const world = await openWorld(t, ({ events }) => (self) => {
      const isFirst = first
      first = false
      return isFirst ? hangs(self) : agent(events)(self)
    })
    const worker = world.worker({ timings: SHORT })
    await worker.warm(1)
    await fill(world, 'ws')
    worker.consume()
    const run = await world.generate({ workspace_id: 'ws' })
    assert.equal((await world.over(run)).data.cause, 'completed')
    assert.deepEqual(await startsOf(world, run), ['warm', 'cold handoff_failed'])
    assert.equal((await world.run(run)).restarts, 1)
    await checkHome(world, run)
  })

  test('a claim while the pool drains: cold', async (t) => {
    const world = await openWorld(t, ({ events }) => agent(events))
    const worker = world.worker()
    const pool = await worker.warm(1)
    await pool[Symbol.asyncDispose]()
    assert.deepEqual(await world.engine.warm?.slots(), [])
    assert.deepEqual(await readSlots(world.root), [])
    worker.consume()
    const run = await world.generate()
    await world.over(run)
    assert.deepEqual(await startsOf(world, run), ['cold pool_draining'])
  })
})

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
