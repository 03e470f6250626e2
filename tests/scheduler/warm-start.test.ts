import assert from 'node:assert/strict'
import { lstat, readFile, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, type TestContext, test } from 'node:test'
import type { SessionEvent } from '#contracts/events.ts'
import type { Run } from '#contracts/run.ts'
import type { WarmMiss } from '#contracts/warm.ts'
import { readSlots } from '#scheduler/claims.ts'
import { agent, gate } from '../fakes/scripted-agent.ts'
import { named } from '../fakes/scripted-process.ts'
import { hangs } from '../fakes/scripted-runners.ts'
import { waitFor } from '../helpers.ts'
import { checkHome, fill, SHORT } from './warm-bench.ts'
import { openWorld, type World } from './world.ts'

/** What the log says of how the run got its container. */
const starts = (log: readonly SessionEvent[], { run_id }: Run): string[] =>
  log.flatMap((event) =>
    event.run_id === run_id && event.event_type === 'run_state' && event.data.state === 'starting'
      ? [[event.data.reason, event.data.miss].filter((word) => word !== undefined).join(' ')]
      : [],
  )

const startsOf = async (world: World, run: Run): Promise<string[]> => starts(await world.log(run), run)

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
