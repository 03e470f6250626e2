import assert from 'node:assert/strict'
import { link, mkdir, rename, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { createDiskGuard, type DiskLimits, isDue, reserveOn } from '#scheduler/disk-guard.ts'
import { type DiskSpace, diskProbe } from '#scheduler/disk-probe.ts'
import type { Verdict } from '#scheduler/watch.ts'
import { sleep, tempDir, waitFor } from '../helpers.ts'

const MIB = 1024 * 1024
const silent = { warn: () => {} }

const open = async (t: TestContext, limits: DiskLimits, space?: () => DiskSpace) => {
  const root = await tempDir(t)
  const scope = new AbortController()
  t.after(() => scope.abort())
  const probe = space === undefined ? diskProbe : { ...diskProbe, space: async () => space() }
  const guard = createDiskGuard({ ...limits, root, probe, log: silent, lookMs: 5 })
  return {
    root,
    guard,
    scope,
    async workspace(id: string, megabytes = 0) {
      await mkdir(join(root, id), { recursive: true })
      if (megabytes > 0) await writeFile(join(root, id, 'file'), Buffer.alloc(megabytes * MIB))
    },
    watch(id: string, starting = false): Promise<Verdict> {
      const verdict = guard.watch({ workspace_id: id, path: join(root, id), starting }, scope.signal)
      verdict.catch(() => {})
      return verdict
    },
  }
}

const errorOf = async (verdict: Promise<Verdict>): Promise<string> => {
  const ended = await verdict
  assert.ok(ended.kind === 'end' && ended.cause === 'disk_full', ended.kind)
  return ended.error ?? ''
}

const settled = (verdict: Promise<Verdict>): Promise<boolean> => {
  const said = () => true
  return Promise.race([verdict.then(said, said), sleep(0).then(() => false)])
}

test('a quota below what is used already ends the run, with the numbers and what to do', async (t) => {
  const { watch, workspace } = await open(t, { quotaBytes: 2 * MIB, reserveBytes: 0 })
  await workspace('w1', 3)
  const error = await errorOf(watch('w1'))
  assert.match(error, /"w1" holds [34] MB, its quota is 2 MB\. Delete files in it, or raise AGENT_WORKSPACE_QUOTA/)
})

test('a workspace that grows beyond its quota ends its run, and no other', async (t) => {
  const { watch, workspace } = await open(t, { quotaBytes: 4 * MIB, reserveBytes: 0 })
  await workspace('grows', 1)
  await workspace('stays', 1)
  const [grows, stays] = [watch('grows'), watch('stays')]
  await workspace('grows', 6)
  await errorOf(grows)
  assert.equal(await settled(stays), false)
})

test('a workspace that is a link into a slot is counted where it leads to; a link inside it is not followed', async (t) => {
  const { root, watch, workspace } = await open(t, { quotaBytes: 2 * MIB, reserveBytes: 0 })
  await workspace('elsewhere', 3)
  await mkdir(join(root, 'slot'))
  await rename(join(root, 'elsewhere'), join(root, 'slot/ws'))
  await symlink('slot/ws', join(root, 'w1'))
  await workspace('w2')
  await symlink(join(root, 'slot/ws'), join(root, 'w2/link'))
  const other = watch('w2')
  assert.match(await errorOf(watch('w1')), /"w1" holds/)
  assert.equal(await settled(other), false)
})

test('a file with two names counts once, and what is not there counts nothing', async (t) => {
  const { root, workspace } = await open(t, { reserveBytes: 0 })
  await workspace('w1', 3)
  const { signal } = new AbortController()
  const before = await diskProbe.used(join(root, 'w1'), false, signal)
  await link(join(root, 'w1/file'), join(root, 'w1/again'))
  assert.equal(await diskProbe.used(join(root, 'w1'), false, signal), before)
  assert.ok(before >= 3 * MIB)
  assert.equal(await diskProbe.used(join(root, 'nothing'), false, signal), 0)
})

test('a disk that runs full ends the run that writes most, and refuses new ones', async (t) => {
  const free = 50 * MIB
  const { watch, workspace } = await open(t, { reserveBytes: 100 * MIB }, () => ({ free, total: 4000 * MIB }))
  for (const id of ['writes', 'writes-more', 'idle']) await workspace(id, 1)
  assert.match(await errorOf(watch('new', true)), /has 50 MB free, 100 MB are kept free, and the workspace "new"/)
  const [writes, more, idle] = [watch('writes'), watch('writes-more'), watch('idle')]
  let size = 2
  await waitFor(async () => {
    size += 2
    await workspace('writes-more', size)
    return settled(more)
  })
  assert.match(await errorOf(more), /Free some there, or set AGENT_WORKSPACE_QUOTA/)
  assert.deepEqual([await settled(idle), await settled(writes)], [false, false], 'who writes nothing goes on')
  await waitFor(async () => {
    size += 2
    await workspace('writes', size)
    return settled(writes)
  })
  assert.equal(await settled(idle), false)
})

test('a run that is over is watched no more: its watch ends with the signal', async (t) => {
  const { watch, scope } = await open(t, { quotaBytes: MIB, reserveBytes: 0 })
  const verdict = watch('w1')
  scope.abort(new Error('over'))
  await assert.rejects(verdict, /over/)
  await assert.rejects(watch('w1'), /over/)
})

test('counting is rare: as long as the disk has not lost what is left of the quota, and in proportion to what it costs', () => {
  const known = { used: 10, countedAt: 0, cost: 100, freeThen: 1000, since: 0 }
  const due = (now: number, free: number) => isDue(known, { now, free, quota: 100 })
  const first = (now: number) => isDue({ ...known, used: undefined }, { now, free: 1000, quota: 100 })
  assert.deepEqual([first(999), first(1_000)], [false, true], 'not in the moments in which an agent begins')
  assert.equal(due(999, 0), false, 'not more often than a second, or ten times its cost')
  assert.equal(due(1_000, 911), false, '89 of the 90 that are left')
  assert.equal(due(1_000, 909), true, '91 may all be ours')
  assert.equal(due(9_999, 1000), false)
  assert.equal(due(10_000, 1000), true, 'now and then all the same: others may have given back what we took')
  assert.equal(isDue({ ...known, cost: 1_000 }, { now: 49_999, free: 1000, quota: 100 }), false)
})

test('a small file system keeps a tenth of itself free, whatever is asked', () => {
  assert.equal(reserveOn({ free: 0, total: 1000 }, 512 * MIB), 100)
  assert.equal(reserveOn({ free: 0, total: 1e12 }, 512 * MIB), 512 * MIB)
})
