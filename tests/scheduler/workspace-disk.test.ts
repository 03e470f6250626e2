import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { chmod, lstat, mkdir, readdir, readFile, rm, stat, statfs, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, type TestContext, test } from 'node:test'
import { checkDisks } from '#scheduler/check-disks.ts'
import { EngineError } from '#scheduler/engines/engine.ts'
import { sweepDisks } from '#scheduler/sweep-disks.ts'
import type { WorkerContext } from '#scheduler/worker-context.ts'
import { prepareWorkspace } from '#scheduler/workspace.ts'
import { closeDisk, openDisk } from '#scheduler/workspace-disk.ts'
import { CANNOT_MOUNT, loopsIn, mountableDir, mountsIn } from './loop-mounts.ts'

const MIB = 1024 * 1024

const open = async (t: TestContext) => {
  const root = await mountableDir(t)
  const run = (runId: string) => ({ workspace_id: 'ws', run_id: runId })
  return {
    root,
    home: join(root, 'ws'),
    image: join(root, '.mgx/disks/ws.img'),
    run,
    open: (runId: string, megabytes = 32) =>
      openDisk({ root, run: run(runId), user: '12345:12346', bytes: megabytes * MIB }),
    close: (runId: string) => closeDisk(root, run(runId)),
    left: async () => [...(await mountsIn(root)), ...(await loopsIn(root))],
  }
}

const refusal = (pattern: RegExp) => (error: unknown) => {
  assert.ok(error instanceof EngineError)
  assert.equal(error.failure, 'workspace_unavailable')
  assert.match(`${error.message}. ${error.remediation}`, pattern)
  return true
}

describe('the disk of a workspace', { skip: CANNOT_MOUNT }, () => {
  test("is empty, the agent's alone, without set-uid and devices, and refuses what is beyond its size", async (t) => {
    const disk = await open(t)
    const path = join(disk.root, (await disk.open('r1')) ?? '')
    const { uid, gid, mode } = await stat(disk.home)
    assert.deepEqual([uid, gid, mode & 0o7777], [12345, 12346, 0o750])
    assert.deepEqual(await readdir(disk.home), [])
    const options = (await readFile('/proc/mounts', 'utf8')).split('\n').find((line) => line.includes(` ${path} `))
    for (const each of ['nosuid', 'nodev', 'discard']) assert.match(options ?? '', new RegExp(`[, ]${each}[, ]`))
    await assert.rejects(writeFile(join(path, 'big'), Buffer.alloc(40 * MIB)), { code: 'ENOSPC' })
    assert.ok((await stat(disk.image)).blocks * 512 <= 33 * MIB, 'outside it takes no more than its size')
    await rm(join(path, 'big'))
    await disk.close('r1')
    assert.deepEqual(await disk.left(), [])
    assert.ok((await stat(disk.image)).blocks * 512 < 8 * MIB, 'what is deleted inside is given back outside')
  })

  test('keeps its files from run to run, also when two have it, or something was there twice', async (t) => {
    const disk = await open(t)
    await disk.open('r1')
    await writeFile(join(disk.home, 'file'), 'kept')
    await Promise.all(['r2', 'r1', 'r3'].map((run) => disk.open(run)))
    assert.equal((await loopsIn(disk.root)).length, 1, 'one loop device, however often it is mounted')
    assert.equal((await mountsIn(disk.root)).length, 3)
    await disk.close('r1')
    await disk.close('r1')
    assert.equal(await readFile(join(disk.home, 'file'), 'utf8'), 'kept')
    await Promise.all(['r2', 'r3'].map((run) => disk.close(run)))
    assert.deepEqual(await disk.left(), [])
    assert.equal((await lstat(disk.home)).isSymbolicLink(), true)
    for (let round = 0; round < 2; round++) {
      const runs = Array.from({ length: 4 }, (_, index) => `again-${round}-${index}`)
      await Promise.all(runs.map((run) => disk.open(run)))
      assert.equal((await loopsIn(disk.root)).length, 1, 'also when all come at once')
      assert.equal(await readFile(join(disk.home, 'file'), 'utf8'), 'kept')
      await Promise.all(runs.map((run) => disk.close(run)))
    }
  })

  test('is mounted again after a reboot, and where its maker died', async (t) => {
    const disk = await open(t)
    const path = join(disk.root, (await disk.open('r1')) ?? '')
    await writeFile(join(path, 'file'), 'kept')
    execFileSync('umount', [path])
    await disk.open('r1')
    assert.equal(await readFile(join(disk.home, 'file'), 'utf8'), 'kept')
    // As mkfs leaves it: died before it was finished.
    await mkdir(join(path, 'lost+found'))
    await chmod(path, 0o755)
    await disk.open('r1')
    assert.deepEqual([await readdir(path), (await stat(path)).mode & 0o777], [['file'], 0o750])
  })

  test('grows when its quota was raised, and is never shrunk', async (t) => {
    const disk = await open(t)
    const total = async () => {
      const { blocks, bsize } = await statfs(disk.home)
      return (blocks * bsize) / MIB
    }
    await disk.open('r1', 32)
    await writeFile(join(disk.home, 'file'), 'kept')
    await disk.open('r2', 64)
    assert.ok((await total()) < 32, 'not while somebody has it')
    await disk.close('r1')
    await disk.close('r2')
    await disk.open('r3', 64)
    assert.ok((await total()) > 48)
    await disk.close('r3')
    await disk.open('r4', 16)
    assert.ok((await total()) > 48)
    assert.deepEqual(await readdir(disk.home), ['file'])
    assert.equal(await readFile(join(disk.home, 'file'), 'utf8'), 'kept')
  })

  test('what lies there already: files stay where they are, an empty directory makes way, both is refused', async (t) => {
    const disk = await open(t)
    await mkdir(disk.home)
    await writeFile(join(disk.home, 'file'), '')
    assert.equal(await disk.open('r1'), undefined)
    assert.deepEqual(await readdir(disk.home), ['file'])
    await rm(join(disk.home, 'file'))
    assert.equal(await disk.open('r1'), '.mgx/mounts/r1')
    await disk.close('r1')
    await rm(disk.home)
    await mkdir(disk.home)
    await writeFile(join(disk.home, 'file'), '')
    await assert.rejects(disk.open('r2'), refusal(/has files in .*ws and in .*ws\.img\. Move one of them away/))
    await rm(disk.home, { recursive: true })
    await symlink('/etc', disk.home)
    assert.equal(await disk.open('r2'), undefined, 'a link elsewhere is refused with all others')
    await assert.rejects(prepareWorkspace(disk.root, 'ws', '1:1'), refusal(/not a directory/))
  })

  test('with a soft quota again: the workspace is not begun anew beside its files', async (t) => {
    const disk = await open(t)
    await disk.open('r1')
    await disk.close('r1')
    const soft = prepareWorkspace(disk.root, 'ws', '1:1')
    await assert.rejects(soft, refusal(/are in an image.*Set AGENT_WORKSPACE_QUOTA_KIND=hard again/))
  })

  test('an image that is none is refused, with where it lies', async (t) => {
    const disk = await open(t)
    await mkdir(join(disk.root, '.mgx/disks'), { recursive: true })
    await writeFile(disk.image, Buffer.alloc(MIB))
    await assert.rejects(disk.open('r1'), refusal(/"ws" cannot be mounted: .*\. Look at .*ws\.img/))
    assert.deepEqual(await disk.left(), [])
  })

  test('what nobody needs any more is unmounted; what a run has, and what is new, is not', async (t) => {
    const disk = await open(t)
    for (const run of ['over', 'owed', 'live']) await disk.open(run)
    const mounts = join(disk.root, '.mgx/mounts')
    for (const name of ['draft-old', 'draft-new']) await writeFile(join(mounts, name), '')
    const states: Record<string, object> = {
      over: { state: 'finished', container_gone: true },
      owed: { state: 'finished', container_gone: false },
      live: { state: 'running', container_gone: false },
    }
    const sweep = (reconcileGrace: number) =>
      sweepDisks({
        store: { runs: { get: async (id: string) => states[id] && { ...disk.run(id), ...states[id] } } },
        config: { workspacesRoot: disk.root, timings: { reconcileGrace } },
      } as unknown as WorkerContext)
    assert.deepEqual(await sweep(60_000), ['over'])
    assert.deepEqual((await sweep(-1)).sort(), ['draft-new', 'draft-old'])
    assert.deepEqual((await readdir(mounts)).sort(), ['live', 'owed'])
    assert.equal((await mountsIn(disk.root)).length, 2)
  })
})

describe('whether hard quotas can be held here', { skip: CANNOT_MOUNT }, () => {
  const trial = (root: string, engineId = 'docker:a', sees = async (_in: string, _out: string) => {}) =>
    checkDisks({ root, hostRoot: '/on-the-host', engineId, sees })

  test('a small disk is made, shown to the engine, and gone', async (t) => {
    const root = await mountableDir(t)
    const seen: string[] = []
    const bytes = await trial(root, 'docker:a', async (inside, outside) => {
      seen.push(...(await mountsIn(root)))
      assert.deepEqual(seen, [inside])
      assert.equal(outside, join('/on-the-host', inside.slice(root.length)))
    })
    assert.equal(seen.length, 1)
    assert.ok(bytes > 8 * MIB && bytes < 16 * MIB)
    assert.deepEqual(
      [await mountsIn(root), await loopsIn(root), await readdir(join(root, '.mgx/mounts'))],
      [[], [], []],
    )
  })

  test('an engine that does not see the mount is refused, with what to do', async (t) => {
    const root = await mountableDir(t)
    const sees = async () => {
      throw new EngineError('workspace_unavailable', 'no such file', '')
    }
    await assert.rejects(trial(root, 'docker:a', sees), refusal(/does not see what this worker mounts.*rshared/))
    assert.deepEqual(await mountsIn(root), [])
  })

  test('the images of one machine are not mounted by another', async (t) => {
    const root = await mountableDir(t)
    await trial(root)
    await assert.rejects(
      trial(root, 'docker:b'),
      refusal(/those of another Docker daemon \(docker:a, here it is docker:b\)/),
    )
    await trial(root)
  })
})
