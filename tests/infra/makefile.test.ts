import assert from 'node:assert/strict'
import { cp, mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { tempDir } from '../helpers.ts'
import { ROOT } from '../runner/imports.ts'
import { runCommand } from './image.ts'

const make = (...args: readonly string[]) => runCommand('make', args, { cwd: ROOT })

test('make lists every target, each in one line', async () => {
  const makefile = await readFile(join(ROOT, 'Makefile'), 'utf8')
  const phony = /^\.PHONY: (.*)$/m.exec(makefile)?.[1]?.split(' ').sort()
  const { stdout, code } = await make()
  assert.equal(code, 0)
  const listed = [...stdout.matchAll(/^ {2}([a-z-]+) +\S/gm)].map((match) => match[1]).sort()
  assert.deepEqual(listed, phony)
  for (const line of stdout.split('\n')) assert.ok(line.length <= 120, line)
})

test('every script is the same for any POSIX shell', async () => {
  const { stdout } = await runCommand('git', ['ls-files', 'scripts/*.sh'], { cwd: ROOT })
  const scripts = stdout.trim().split('\n')
  assert.ok(scripts.length > 8)
  for (const script of scripts) {
    const { code, stderr } = await runCommand('sh', ['-n', script], { cwd: ROOT })
    assert.equal(code, 0, stderr)
  }
})

/** A clone on a machine that has a shell and its tools, and nothing else. */
const bareMachine = async (t: { after(clean: () => Promise<void>): void }) => {
  const dir = await tempDir(t)
  await cp(join(ROOT, 'scripts'), join(dir, 'scripts'), { recursive: true })
  await mkdir(join(dir, 'bin'))
  for (const name of ['sh', 'dirname', 'cat', 'cksum', 'id', 'sed', 'head', 'uname', 'mktemp', 'rm', 'mkdir', 'grep']) {
    const { stdout } = await runCommand('sh', ['-c', `command -v ${name}`])
    await writeFile(join(dir, 'bin', name), `#!/bin/sh\nexec ${stdout.trim()} "$@"\n`, { mode: 0o755 })
  }
  for (const name of ['package-lock.json', '.npmrc']) await cp(join(ROOT, name), join(dir, name))
  return (script: string) => {
    const env = { PATH: join(dir, 'bin'), SETUP: 'none', DOCKER_HOST: '' }
    return runCommand('/bin/sh', [join(dir, 'scripts', script)], { cwd: dir, env })
  }
}

test('SETUP=none: setup says that npm is missing and how to get it, and installs nothing', async (t) => {
  const run = await bareMachine(t)
  const { code, stdout, stderr } = await run('setup.sh')
  assert.equal(code, 1)
  assert.equal(stdout, '')
  assert.match(stderr, /npm is missing, and SETUP=none.*apt-get install nodejs npm/)
})

test('SETUP=none: docker says that there is no daemon and how to get one, and installs nothing', async (t) => {
  const run = await bareMachine(t)
  const { code, stdout, stderr } = await run('docker.sh')
  assert.equal(code, 1)
  assert.equal(stdout, '')
  assert.match(stderr, /no Docker: no daemon answers, and SETUP=none.*apt-get install docker\.io iptables/)
})

test('a DOCKER_HOST that does not answer is named, and nothing is started beside it', async (t) => {
  const dir = await tempDir(t)
  await cp(join(ROOT, 'scripts'), join(dir, 'scripts'), { recursive: true })
  const env = { ...process.env, DOCKER_HOST: 'unix:///nowhere/docker.sock' }
  const { code, stderr } = await runCommand('sh', ['scripts/docker.sh'], { cwd: dir, env })
  assert.equal(code, 1)
  assert.match(stderr, /nothing answers at DOCKER_HOST=unix:\/\/\/nowhere\/docker\.sock/)
})
