import assert from 'node:assert/strict'
import { chmod, mkdir, readdir, stat, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { EngineError } from '#scheduler/engines/engine.ts'
import { prepareWorkspace } from '#scheduler/workspace.ts'
import { tempDir } from '../helpers.ts'

const uid = process.getuid?.() ?? 1000
const gid = process.getgid?.() ?? 1000
const isRoot = uid === 0

const refused = (work: Promise<unknown>, what: RegExp) =>
  assert.rejects(work, (error: unknown) => {
    assert(error instanceof EngineError)
    assert.equal(error.failure, 'workspace_unavailable')
    assert.match(error.message, what)
    assert(error.remediation.length > 10, 'says what to do')
    return true
  })

const rootOf = (t: TestContext) => tempDir(t, 'mgx-workspaces-')

test('makes the directory for its owner only, and for the agent where it may', async (t) => {
  const root = await rootOf(t)
  const user = isRoot ? '12345:12346' : `${uid}:${gid}`
  const path = await prepareWorkspace(root, 'ws', user)
  const made = await stat(path)
  assert.equal(made.mode & 0o777 & ~0o750, 0)
  assert.deepEqual([made.uid, made.gid], isRoot ? [12345, 12346] : [uid, gid])
})

test('takes a directory as it is, with its files and its owner', async (t) => {
  const root = await rootOf(t)
  await mkdir(join(root, 'ws'))
  await writeFile(join(root, 'ws', 'kept'), 'x')
  await chmod(join(root, 'ws'), 0o700)
  const path = await prepareWorkspace(root, 'ws', '12345:12346')
  assert.equal((await stat(path)).uid, uid)
  assert.deepEqual(await readdir(path), ['kept'])
  assert.equal((await stat(path)).mode & 0o777, 0o700)
})

test('gives away an empty directory that a worker made and died', async (t) => {
  const root = await rootOf(t)
  await mkdir(join(root, 'ws'))
  const user = isRoot ? '12345:12346' : `${uid}:${gid}`
  assert.equal((await stat(await prepareWorkspace(root, 'ws', user))).uid, isRoot ? 12345 : uid)
})

test('twice at once is once', async (t) => {
  const root = await rootOf(t)
  const both = await Promise.all([1, 2].map(() => prepareWorkspace(root, 'ws', `${uid}:${gid}`)))
  assert.equal(both[0], both[1])
})

test('refuses a link, though it leads to a directory', async (t) => {
  const [root, elsewhere] = [await rootOf(t), await rootOf(t)]
  await symlink(elsewhere, join(root, 'ws'))
  await refused(prepareWorkspace(root, 'ws', `${uid}:${gid}`), /not a directory/)
})

test('refuses a file', async (t) => {
  const root = await rootOf(t)
  await writeFile(join(root, 'ws'), '')
  await refused(prepareWorkspace(root, 'ws', `${uid}:${gid}`), /not a directory/)
})

test('refuses a root that is missing, and does not make it', async (t) => {
  const root = join(await rootOf(t), 'missing')
  await refused(prepareWorkspace(root, 'ws', `${uid}:${gid}`), /does not exist/)
  await assert.rejects(stat(root))
})

test('refuses a root in which nothing can be made', async (t) => {
  // A file system that refuses root as well, without mounting one: directories cannot be made in /proc.
  const root = isRoot ? '/proc' : await rootOf(t)
  if (!isRoot) await chmod(root, 0o500)
  await refused(prepareWorkspace(root, 'ws', `${uid}:${gid}`), /cannot make the workspace directory/)
  if (!isRoot) await chmod(root, 0o700)
})
