import assert from 'node:assert/strict'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { createClaims, readSlots } from '#scheduler/claims.ts'
import { EngineError } from '#scheduler/engines/engine.ts'
import type { WarmSlot } from '#scheduler/engines/warm-engine.ts'
import { slotDir } from '#scheduler/slot-paths.ts'
import { makeSlot } from '#scheduler/slot-workspace.ts'
import { agent } from '../fakes/scripted-agent.ts'
import { named, patches } from '../fakes/scripted-process.ts'
import { hangs } from '../fakes/scripted-runners.ts'
import { waitFor } from '../helpers.ts'
import { openWorld, type World } from './world.ts'

const openPool = async (t: Parameters<typeof openWorld>[0], size: number) => {
  const world = await openWorld(t, () => hangs)
  const worker = world.worker()
  return { world, worker, pool: await worker.warm(size) }
}

const taken = (slot: unknown): WarmSlot => {
  assert.ok(typeof slot === 'object' && slot !== null)
  return slot as WarmSlot
}

const slotsOf = async (world: World): Promise<string[]> =>
  ((await world.engine.warm?.slots()) ?? []).map(({ slot }) => slot)

describe('the warm pool', () => {
  test('each slot is given once, and replaced', async (t) => {
    const { world, pool } = await openPool(t, 3)
    const given = [1, 2, 3].map(() => taken(pool.take()).slot)
    assert.equal(new Set(given).size, 3)
    assert.equal(pool.take(), 'pool_empty')
    await waitFor(async () => pool.stats().ready === 3, { what: 'three new ones' })
    assert.equal((await slotsOf(world)).length, 6)
    assert.ok(given.every((slot) => !pool.holds(slot)))
  })

  test('an untouched slot can be put back', async (t) => {
    const { pool } = await openPool(t, 1)
    const slot = taken(pool.take())
    pool.putBack(slot)
    assert.equal(taken(pool.take()).slot, slot.slot)
  })

  test('a slot that dies is replaced, and nothing of it is left', async (t) => {
    const { world, pool } = await openPool(t, 1)
    const [before] = await slotsOf(world)
    world.engine.orphan()
    await waitFor(async () => pool.stats().ready === 1 && !(await slotsOf(world)).includes(before ?? ''), {
      what: 'another',
    })
    assert.deepEqual(await readSlots(world.root), await slotsOf(world))
  })

  test('more than the memory allows is refused, with the most there may be', async (t) => {
    const world = await openWorld(t, () => hangs)
    await assert.rejects(world.worker().warm(9), (error: unknown) => {
      assert.ok(error instanceof EngineError)
      assert.match(error.message, /WARM_POOL_SIZE=9.*1\.0 GiB/)
      assert.match(error.remediation, /8 or less/)
      return true
    })
    assert.deepEqual(await slotsOf(world), [])
  })

  test('another image since: the slots go, and the pool begins anew', async (t) => {
    const { world, pool } = await openPool(t, 1)
    world.engine.change()
    pool.note('image_changed')
    const old = await slotsOf(world)
    await waitFor(async () => pool.stats().ready === 1 && !(await slotsOf(world)).some((slot) => old.includes(slot)), {
      what: 'a slot of the new image',
    })
  })

  test('draining removes every slot with its directory; what is under way, too', async (t) => {
    const { world, pool } = await openPool(t, 2)
    pool.take()
    await pool[Symbol.asyncDispose]()
    assert.equal(pool.take(), 'pool_draining')
    assert.equal((await slotsOf(world)).length, 1, 'only the one that was given away')
    assert.equal((await readSlots(world.root)).length, 1)
  })
})

describe('reconcile and slots', () => {
  test('what a dead worker left is removed; what a live one keeps is not', async (t) => {
    const world = await openWorld(t, () => hangs)
    const [dead, live] = [world.worker(), world.worker()]
    await dead.warm(2)
    dead.die()
    world.engine.orphan()
    const left = await slotsOf(world)
    const pool = await live.warm(1)
    await makeSlot(world.root, 'never-started', { v: 1, engine_id: 'scripted', created_at: new Date(0).toISOString() })
    await makeSlot(world.root, 'of-another', { v: 1, engine_id: 'other', created_at: new Date(0).toISOString() })
    const { removed } = await live.reconcile()
    assert.deepEqual([...removed].sort(), [...left, 'never-started'].sort())
    const kept = await slotsOf(world)
    assert.deepEqual([kept.length, pool.stats().ready], [1, 1])
    assert.deepEqual((await readSlots(world.root)).sort(), [...kept, 'of-another'].sort())
    assert.deepEqual((await live.reconcile()).removed, [])
  })

  test('a slot of another live worker is left alone', async (t) => {
    const world = await openWorld(t, () => hangs)
    const [one, other] = [world.worker(), world.worker()]
    const pool = await one.warm(1)
    assert.deepEqual((await other.reconcile()).removed, [])
    const slot = taken(pool.take())
    assert.equal(slot.gone.aborted, false)
    assert.deepEqual(await readdir(join(slotDir(world.root, slot.slot), 'w')), [])
  })

  for (const [what, call] of [
    ['removed the container', named('engine.remove')],
    ['brought the workspace home', patches('container_gone', true)],
  ] as const) {
    test(`a worker that dies when it has ${what}: the next one finishes`, async (t) => {
      const world = await openWorld(t, ({ events }) => agent(events))
      const [first, second] = [world.worker(), world.worker()]
      await first.warm(1)
      const died = first.process.dieAt(what === 'removed the container' ? 'after' : 'before', call)
      first.consume()
      const run = await world.generate({ workspace_id: 'ws' })
      await died
      first.die()
      world.queue.forget()
      await world.forget(run)
      await second.handle(run)
      await waitFor(
        async () => {
          await second.reconcile()
          return (await createClaims(world.root).all()).length === 0
        },
        { what: 'no claim' },
      )
      assert.equal((await world.over(run)).data.cause, 'completed')
      assert.ok((await readdir(world.root)).includes('ws'))
      assert.deepEqual(await readdir(join(world.root, 'ws')), [])
    })
  }
})
