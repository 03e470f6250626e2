import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { chmod, mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { openBench } from './bench.ts'

test('read numbers lines, in parts where the file is long', async (t) => {
  const { workspace, use } = await openBench(t)
  await writeFile(join(workspace, 'a.txt'), 'one\ntwo\r\nthree\n')
  assert.equal((await use('read', { path: 'a.txt' })).output, '1: one\n2: two\r\n3: three')
  assert.equal(
    (await use('read', { path: 'a.txt', offset: 2, limit: 1 })).output,
    '2: two\r\n(3 lines in all; use offset=3 to continue)',
  )
  assert.match((await use('read', { path: 'a.txt', offset: 9 })).output, /has 3 lines; offset 9 is behind its end/)
  await writeFile(join(workspace, 'long.txt'), `${'x'.repeat(100)}\n`.repeat(5000))
  const long = (await use('read', { path: 'long.txt' })).output
  assert.ok(Buffer.byteLength(long) < 51 * 1024)
  assert.match(long, /\(5000 lines in all; use offset=\d+ to continue\)$/)
  await writeFile(join(workspace, 'wide.txt'), 'y'.repeat(300_000))
  assert.match((await use('read', { path: 'wide.txt' })).output, /^1: y{2000}… \(300000 characters\)$/)
  await writeFile(join(workspace, 'empty.txt'), '')
  assert.equal((await use('read', { path: 'empty.txt' })).output, '(the file is empty)')
})

test('read lists directories, guesses at names, and refuses what is no text', async (t) => {
  const { workspace, use } = await openBench(t)
  await mkdir(join(workspace, 'src'))
  await writeFile(join(workspace, 'Index.html'), '')
  await writeFile(join(workspace, 'image.png'), Buffer.from([0x89, 0x50, 0, 1]))
  assert.equal((await use('read', { path: '.' })).output, '. is a directory:\nIndex.html\nimage.png\nsrc/')
  assert.equal((await use('read', { path: 'src' })).output, 'src is an empty directory')
  const missing = await use('read', { path: 'index.htm' })
  assert.deepEqual([missing.status, missing.errorCode], ['error', 'not_found'])
  assert.match(missing.output, /index\.htm does not exist; did you mean Index\.html\?/)
  assert.equal((await use('read', { path: 'image.png' })).errorCode, 'binary')
  execFileSync('mkfifo', [join(workspace, 'pipe')])
  assert.match((await use('read', { path: 'pipe' })).output, /not a regular file/)
})

test('write makes files and directories, and replaces only what was read and has not changed since', async (t) => {
  const { workspace, use } = await openBench(t)
  const made = await use('write', { path: 'a/b/c.txt', content: 'one\n' })
  assert.deepEqual(made.changed, { path: 'a/b/c.txt', change: 'added', bytes: 4 })
  const again = await use('write', { path: 'a/b/c.txt', content: 'two\n' })
  assert.deepEqual([again.status, again.changed?.change], ['ok', 'modified'], 'its own work it knows')
  await writeFile(join(workspace, 'a/b/c.txt'), 'somebody else\n')
  assert.match((await use('write', { path: 'a/b/c.txt', content: 'three' })).output, /has changed since you saw it/)
  await writeFile(join(workspace, 'old.txt'), 'old')
  const unread = await use('write', { path: 'old.txt', content: 'new' })
  assert.deepEqual([unread.status, unread.errorCode], ['error', 'not_read'])
  assert.equal(await readFile(join(workspace, 'old.txt'), 'utf8'), 'old')
  await use('read', { path: 'old.txt' })
  assert.equal((await use('write', { path: 'old.txt', content: 'new' })).status, 'ok')
  assert.equal(await readFile(join(workspace, 'old.txt'), 'utf8'), 'new')
  assert.deepEqual(await readdir(join(workspace, 'a/b')), ['c.txt'], 'no temporary file is left')
})

test('write keeps mode, line ends and byte-order mark of a file, and warns of placeholders', async (t) => {
  const { workspace, use } = await openBench(t)
  const path = join(workspace, 'run.sh')
  await writeFile(path, '\uFEFFone\r\ntwo\r\n')
  await chmod(path, 0o755)
  await use('read', { path: 'run.sh' })
  await use('write', { path: 'run.sh', content: 'three\nfour\n' })
  assert.equal(await readFile(path, 'utf8'), '\uFEFFthree\r\nfour\r\n')
  assert.equal((await stat(path)).mode & 0o777, 0o755)
  for (const text of [
    '// ... rest of the code unchanged',
    '# ... existing code ...',
    '<!-- rest of the file is the same -->',
  ])
    assert.match(
      (await use('write', { path: `new-${text.length}.js`, content: `a()\n${text}\n` })).output,
      /Warning: a comment/,
    )
  assert.doesNotMatch(
    (await use('write', { path: 'fine.js', content: '// the rest is history\nf(...rest)\n' })).output,
    /Warning/,
  )
})

test('write onto a directory or through a file is an error of the call, not of the runner', async (t) => {
  const { workspace, use } = await openBench(t)
  await mkdir(join(workspace, 'dir'))
  await writeFile(join(workspace, 'file'), '')
  assert.match((await use('write', { path: 'dir', content: '' })).output, /cannot write dir: it is a directory/)
  assert.match((await use('write', { path: 'file/x', content: '' })).output, /cannot write file\/x: E/)
})

test('edit replaces exactly one place, or says how many there are and changes nothing', async (t) => {
  const { workspace, use } = await openBench(t)
  const path = join(workspace, 'a.js')
  const before = 'let a = 1\nlet b = 1\n  if (a) {\n    b()\n  }\n'
  await writeFile(path, before)
  const edit = (...edits: object[]) => use('edit', { path: 'a.js', edits })
  for (const [old, problem] of [
    ['let c', /occurs 0 times/],
    ['let', /occurs 2 times/],
    ['  ', /empty or only space/],
    ['', /empty or only space/],
  ] as const) {
    const result = await edit({ old, new: 'x' })
    assert.equal(result.errorCode, 'no_match')
    assert.match(result.output, problem)
  }
  assert.match((await edit({ old: 'let a', new: 'var a' }, { old: 'gone', new: '' })).output, /edit 2 of 2: .*0 times/)
  assert.equal(await readFile(path, 'utf8'), before)
  const done = await edit({ old: 'let a = 1', new: "let a = '$&'" }, { old: 'let', new: 'const', replace_all: true })
  assert.equal(done.status, 'ok')
  assert.match(done.output, /^Edited a\.js\n@@ line 1 @@\n-let a = 1\n-let b = 1\n\+const a = '\$&'\n\+const b = 1$/)
  const loose = await edit({ old: 'if (a) {\nb()\n}', new: '  if (b) {}' })
  assert.match(loose.output, /matched only apart from the space around its lines/)
  assert.equal(await readFile(path, 'utf8'), "const a = '$&'\nconst b = 1\n  if (b) {}\n")
})

test('edit keeps CRLF, and a file that was read stays known', async (t) => {
  const { workspace, use } = await openBench(t)
  const path = join(workspace, 'a.txt')
  await writeFile(path, 'one\r\ntwo\r\nthree\r\n')
  await use('read', { path: 'a.txt' })
  assert.equal((await use('edit', { path: 'a.txt', edits: [{ old: 'one\ntwo', new: '1\n2' }] })).status, 'ok')
  assert.equal(await readFile(path, 'utf8'), '1\r\n2\r\nthree\r\n')
  assert.equal((await use('write', { path: 'a.txt', content: 'new\n' })).status, 'ok')
})

test('edit leaves alone what is not UTF-8: it could not write it back as it was', async (t) => {
  const { workspace, use } = await openBench(t)
  const bytes = Buffer.from([0x61, 0xe9, 0x62])
  await writeFile(join(workspace, 'latin.txt'), bytes)
  assert.equal((await use('edit', { path: 'latin.txt', edits: [{ old: 'a', new: 'c' }] })).errorCode, 'binary')
  assert.deepEqual(await readFile(join(workspace, 'latin.txt')), bytes)
})
