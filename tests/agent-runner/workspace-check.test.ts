import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { remedyFor, workspaceProblem } from '#agent-runner/workspace-check.ts'
import { tempDir } from '../helpers.ts'

test('a workspace is a directory that can be written; else the reason and the remedy', async (t) => {
  const dir = await tempDir(t)
  assert.equal(await workspaceProblem(dir), undefined)
  assert.match((await workspaceProblem(join(dir, 'none'))) ?? '', /does not exist; mount a directory there/)
  await writeFile(join(dir, 'file'), '')
  assert.match((await workspaceProblem(join(dir, 'file'))) ?? '', /is not a directory; mount one there/)
})

test('one that belongs to somebody else: who would have to own it, and the other way out', () => {
  const text = remedyFor('/workspace', 'EACCES', '1000:1000')
  assert.match(
    text,
    /user 1000:1000\) cannot write .*\(EACCES\).*chown -R 1000:1000 .*--user "\$\(id -u\):\$\(id -g\)"/,
  )
})
