import assert from 'node:assert/strict'
import { mkdir, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { readSlots } from '#scheduler/claims.ts'
import { slotDir } from '#scheduler/slot-paths.ts'
import { leasedAt } from '#scheduler/slot-workspace.ts'
import { hangs } from '../fakes/scripted-runners.ts'
import { waitFor } from '../helpers.ts'
import { openWorld, type World } from './world.ts'

const LONG_AGO = new Date(Date.now() - 3_600_000)

/** The pool that keeps these slots has not said so for an hour. */
const lapse = async ({ root }: World): Promise<string[]> => {
  const slots = await readSlots(root)
  for (const slot of slots) await utimes(join(slotDir(root, slot), 'slot.json'), LONG_AGO, LONG_AGO)
  return slots
}

const leftOf = async ({ root, engine }: World) => [await readSlots(root), await engine.warm?.slots()]

describe('slots whose input never ends, because the Docker daemon was away when their worker died', () => {
  test('are removed when their lease has lapsed, not before', async (t) => {
    const world = await openWorld(t, () => hangs)
    const [dead, live] = [world.worker(), world.worker()]
    await dead.warm(2)
    dead.die()
    assert.deepEqual((await live.reconcile()).removed, [])
    const slots = await lapse(world)
    assert.equal(slots.length, 2)
    assert.deepEqual([...(await live.reconcile()).removed].sort(), [...slots].sort())
    assert.deepEqual(await leftOf(world), [[], []])
  })

  test('the lease of a slot that is kept is renewed, and nobody takes it away', async (t) => {
    const world = await openWorld(t, () => hangs)
    const [keeper, other] = [world.worker(), world.worker()]
    const pool = await keeper.warm(1)
    const [slot = ''] = await lapse(world)
    pool.note('image_changed')
    await waitFor(async () => Number(await leasedAt(world.root, slot)) > LONG_AGO.getTime() + 60_000, {
      what: 'a new lease',
    })
    assert.deepEqual((await other.reconcile()).removed, [])
    assert.equal(pool.stats().ready, 1)
  })
})

describe('a slot directory without a note: its worker died before it had written it, or while it removed it', () => {
  for (const [what, note] of [
    ['none', undefined],
    ['an empty one', ''],
  ] as const) {
    test(`${what}: it is removed once nobody can be at it any more, not before`, async (t) => {
      const world = await openWorld(t, () => hangs)
      const worker = world.worker()
      const path = slotDir(world.root, 'halfway')
      await mkdir(path, { recursive: true })
      if (note !== undefined) await writeFile(join(path, 'slot.json'), note)
      assert.deepEqual((await worker.reconcile()).removed, [])
      await utimes(path, LONG_AGO, LONG_AGO)
      assert.deepEqual((await worker.reconcile()).removed, ['halfway'])
      assert.deepEqual(await leftOf(world), [[], []])
    })
  }
})
