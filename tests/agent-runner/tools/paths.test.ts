import assert from 'node:assert/strict'
import { mkdir, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { findPath } from '#agent-runner/tools/paths.ts'
import { openBench } from './bench.ts'

test('paths in the workspace are found, relative or absolute, whether they exist or not', async (t) => {
  const { workspace } = await openBench(t)
  for (const [path, shown] of [
    ['a.txt', 'a.txt'],
    ['./new/deep/b.txt', 'new/deep/b.txt'],
    ['.', '.'],
    [join(workspace, 'c.txt'), 'c.txt'],
    ['x/../d.txt', 'd.txt'],
    ['...', '...'],
  ] as const)
    assert.deepEqual(await findPath(workspace, path), {
      real: join(workspace, shown === '.' ? '' : shown).replace(/\/$/, ''),
      shown,
    })
})

test('no path leads out of the workspace: not by dots, not by links, not to the machine', async (t) => {
  const { dir, workspace, use } = await openBench(t)
  await writeFile(join(dir, 'outside.txt'), 'not yours')
  await mkdir(join(dir, 'workspace-2'))
  await symlink(dir, join(workspace, 'up'))
  await symlink(join(dir, 'outside.txt'), join(workspace, 'link.txt'))
  await symlink('/proc/self/environ', join(workspace, 'env'))
  await symlink(join(dir, 'nothing'), join(workspace, 'dangling'))
  await symlink('loop', join(workspace, 'loop'))
  for (const path of [
    ...['../outside.txt', join(dir, 'outside.txt'), '../workspace-2/x', 'up/outside.txt', 'up/new.txt', 'link.txt'],
    ...['env', '/proc/self/environ', '/proc/1/../self/environ', '/sys/kernel', '/dev/zero', 'dangling', 'loop'],
    ...['', 'a\0b', 'x'.repeat(5000), 'a/../../outside.txt'],
  ]) {
    const found = await findPath(workspace, path)
    assert.ok('refused' in found, `${path} was found`)
    for (const [tool, input] of [
      ['read', { path }],
      ['write', { path, content: 'x' }],
      ['edit', { path, edits: [{ old: 'not', new: 'all' }] }],
    ] as const)
      assert.equal((await use(tool, input)).errorCode, 'path_refused', `${tool} ${path}`)
  }
})

test('links inside the workspace are followed', async (t) => {
  const { workspace, use } = await openBench(t)
  await writeFile(join(workspace, 'real.txt'), 'here')
  await symlink('real.txt', join(workspace, 'alias.txt'))
  assert.equal((await use('read', { path: 'alias.txt' })).output, '1: here')
})
