import assert from 'node:assert/strict'
import * as files from 'node:fs/promises'
import { join } from 'node:path'
import { describe, type TestContext, test } from 'node:test'
import { type Claim, createClaims, retireSlot, writeClaim } from '#scheduler/claims.ts'
import { EngineError } from '#scheduler/engines/engine.ts'
import { slotDir, slotLink, slotShared, slotWorkspace } from '#scheduler/slot-paths.ts'
import { bringHome, CannotMove, handOver, type Moves, makeSlot } from '#scheduler/slot-workspace.ts'
import { tempDir } from '../helpers.ts'

const USER = `${process.getuid?.() ?? 1000}:${process.getgid?.() ?? 1000}`

type Place = { readonly root: string; readonly home: string; readonly claim: Claim; readonly inside: string }

const openPlace = async (t: TestContext, slot = 'slot-1'): Promise<Place> => {
  const root = await tempDir(t, 'mgx-slots-')
  return { root, home: join(root, 'ws'), claim: await openSlot(root, slot), inside: slotWorkspace(root, slot) }
}

const openSlot = async (root: string, slot: string): Promise<Claim> => {
  await makeSlot(root, slot, { v: 1, engine_id: 'e', created_at: new Date().toISOString() })
  const names = { tenant_id: 't', session_id: 's', run_id: 'r', workspace_id: 'ws' }
  return { v: 1, slot, engine_id: 'e', container_id: 'c', ...names, claimed_at: new Date().toISOString() }
}

const fillWorkspace = async (home: string): Promise<void> => {
  await files.mkdir(home)
  await files.writeFile(join(home, 'kept'), 'of before')
}

class Died extends Error {}

/** Moves that die at the n-th call: before it is made, or after. `calls` counts them. */
const dyingMoves = (at: number, when: 'before' | 'after') => {
  const counter = { calls: 0 }
  const dying =
    <A extends unknown[], R>(move: (...args: A) => Promise<R>) =>
    async (...args: A): Promise<R> => {
      counter.calls += 1
      const mine = counter.calls === at
      if (mine && when === 'before') throw new Died()
      const result = await move(...args)
      if (mine) throw new Died()
      return result
    }
  const { mkdir, rename, symlink, unlink, rmdir } = files
  const moves = {
    mkdir: dying(mkdir as never),
    rename: dying(rename),
    symlink: dying(symlink),
    unlink: dying(unlink),
    rmdir: dying(rmdir),
  } as unknown as Moves
  return { moves, counter }
}

/** At home, plain, whole, and nothing of the slot left. */
const checkHome = async ({ root, home, claim }: Place, name: string | undefined): Promise<void> => {
  const stat = await files.lstat(home).catch(() => undefined)
  if (name === undefined) assert.ok(stat === undefined || stat.isDirectory())
  else {
    assert.ok(stat?.isDirectory(), 'a plain directory again')
    assert.deepEqual(await files.readdir(home), [name])
  }
  await assert.rejects(files.lstat(slotDir(root, claim.slot)), { code: 'ENOENT' })
}

describe('a workspace and a slot', () => {
  for (const existing of [true, false]) {
    test(`${existing ? 'an existing' : 'a new'} workspace goes into the slot and comes home`, async (t) => {
      const place = await openPlace(t)
      const { root, home, claim, inside } = place
      if (existing) await fillWorkspace(home)
      await writeClaim(root, claim)
      await handOver(root, claim, USER)
      assert.equal(await files.readlink(home), slotLink(claim.slot))
      assert.deepEqual(await files.readdir(inside), existing ? ['kept'] : [])
      await files.writeFile(join(home, 'kept'), 'by the agent')
      assert.equal(await files.readFile(join(inside, 'kept'), 'utf8'), 'by the agent', 'the old path leads there')
      await bringHome(root, claim)
      await checkHome(place, 'kept')
      await bringHome(root, claim)
      await checkHome(place, 'kept')
    })

    test(`who dies between any two moves loses nothing: ${existing ? 'existing' : 'new'}`, async (t) => {
      let died = 0
      for (let at = 1; ; at++) {
        const place = await openPlace(t)
        const { root, home, claim } = place
        if (existing) await fillWorkspace(home)
        await writeClaim(root, claim)
        const { moves, counter } = dyingMoves(at, at % 2 === 0 ? 'before' : 'after')
        const both = async () => {
          await handOver(root, claim, USER, moves)
          if (!existing) await files.writeFile(join(home, 'kept'), '')
          await bringHome(root, claim, moves)
        }
        const outcome = await both().catch((error: unknown) => error)
        if (outcome === undefined && counter.calls < at) break
        assert.ok(outcome instanceof Died)
        died += 1
        await bringHome(root, claim)
        const wasMade = existing || (await files.lstat(home).catch(() => undefined)) !== undefined
        await checkHome(place, existing ? 'kept' : undefined)
        if (!wasMade) await assert.rejects(files.lstat(home), { code: 'ENOENT' })
      }
      assert.ok(died >= 5, `${died} deaths`)
    })
  }

  test('many bring it home at once, while who was given the slot wakes up late', async (t) => {
    for (let round = 0; round < 50; round++) {
      const place = await openPlace(t)
      const { root, home, claim } = place
      await fillWorkspace(home)
      await writeClaim(root, claim)
      const late = handOver(root, claim, USER).catch(() => {})
      await Promise.all(Array.from({ length: 4 }, () => bringHome(root, claim)))
      await late
      // The one that woke up may have moved it once more before the slot was closed: then it is its turn to bring it home.
      await bringHome(root, claim)
      await checkHome(place, 'kept')
    }
  })

  for (const [what, make] of [
    ['a link', (home: string) => files.symlink('/tmp', home)],
    ['a file', (home: string) => files.writeFile(home, 'text')],
  ] as const) {
    test(`${what} in the workspace's place is not moved`, async (t) => {
      const place = await openPlace(t)
      await make(place.home)
      await writeClaim(place.root, place.claim)
      await assert.rejects(handOver(place.root, place.claim, USER), CannotMove)
      await bringHome(place.root, place.claim)
      assert.ok(!(await files.lstat(place.home)).isDirectory())
    })
  }

  for (const code of ['EXDEV', 'EBUSY']) {
    test(`a workspace on another file system or a mount point stays (${code})`, async (t) => {
      const place = await openPlace(t)
      await fillWorkspace(place.home)
      await writeClaim(place.root, place.claim)
      const rename = () => Promise.reject(Object.assign(new Error(code), { code }))
      await assert.rejects(handOver(place.root, place.claim, USER, { ...files, rename }), CannotMove)
      await bringHome(place.root, place.claim)
      await checkHome(place, 'kept')
    })
  }

  test('something that has taken its place is an error that says where the files are, and deletes nothing', async (t) => {
    const place = await openPlace(t)
    const { root, home, claim, inside } = place
    await fillWorkspace(home)
    await writeClaim(root, claim)
    await handOver(root, claim, USER)
    await files.unlink(home)
    await files.mkdir(home)
    await files.writeFile(join(home, 'mine'), '')
    await assert.rejects(bringHome(root, claim), (error: unknown) => {
      assert.ok(error instanceof EngineError && error.failure === 'workspace_unavailable')
      assert.ok(error.message.includes(inside))
      return true
    })
    assert.deepEqual([await files.readdir(home), await files.readdir(inside)], [['mine'], ['kept']])
    await files.rm(home, { recursive: true })
    await bringHome(root, claim)
    await checkHome(place, 'kept')
  })

  test('what an agent left beside its workspace goes, and a workspace that it closed to us comes home closed', async (t) => {
    const place = await openPlace(t)
    const { root, home, claim, inside } = place
    await fillWorkspace(home)
    await writeClaim(root, claim)
    await handOver(root, claim, USER)
    await files.chmod(slotShared(root, claim.slot), 0o755)
    await files.mkdir(join(slotShared(root, claim.slot), 'beside', 'more'), { recursive: true })
    await files.chmod(inside, 0o500)
    await bringHome(root, claim)
    await checkHome(place, 'kept')
    assert.equal((await files.stat(home)).mode & 0o777, 0o500)
  })

  test('a workspace that its agent renamed is kept where it is, and said', async (t) => {
    const { root, home, claim, inside } = await openPlace(t)
    await fillWorkspace(home)
    await writeClaim(root, claim)
    await handOver(root, claim, USER)
    const other = join(slotShared(root, claim.slot), 'other')
    await files.chmod(slotShared(root, claim.slot), 0o755)
    await files.rename(inside, other)
    await assert.rejects(bringHome(root, claim), /are in .*moved them/)
    assert.deepEqual(await files.readdir(other), ['kept'])
  })
})

describe('claims', () => {
  test('a slot is claimed once, or retired and never claimed', async (t) => {
    const { root, claim } = await openPlace(t)
    const claims = createClaims(root)
    assert.deepEqual(await claims.all(), [])
    const both = await Promise.allSettled([writeClaim(root, claim), writeClaim(root, { ...claim, run_id: 'other' })])
    assert.equal(both.filter(({ status }) => status === 'fulfilled').length, 1)
    assert.equal((await claims.all()).length, 1)
    assert.equal(await retireSlot(root, claim.slot), false)

    const second = await openSlot(root, 'slot-2')
    assert.equal(await retireSlot(root, 'slot-2'), true)
    assert.equal(await retireSlot(root, 'slot-2'), true)
    await assert.rejects(writeClaim(root, second), { code: 'EEXIST' })
    assert.equal((await claims.all()).length, 1)
    assert.equal(await retireSlot(root, 'never-was'), true)
    await bringHome(root, claim)
    assert.deepEqual(await claims.all(), [])
  })
})
