import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { mkdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { hashOf } from '#agent-runner/tools/files.ts'
import { sleep, waitFor } from '../../helpers.ts'
import { openBench } from './bench.ts'

const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

/** Zombies of this machine's own reaper are dead enough. */
const isGone = async (pid: number): Promise<boolean> => {
  if (!isAlive(pid)) return true
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => ') Z ')
  return stat.includes(') Z ')
}

test('both streams in order, the exit code, and nothing to read from', async (t) => {
  const { use } = await openBench(t)
  const result = await use('bash', { command: 'echo one; echo two >&2; cat; echo three; exit 7' })
  assert.deepEqual([result.status, result.exitCode, result.errorCode], ['error', 7, 'exit_code'])
  assert.match(result.output, /^one\ntwo\nthree\n\(exit code 7; \d+\.\d s\)$/)
  const silent = await use('bash', { command: 'true' })
  assert.match(silent.output, /^\(exit code 0; /)
  assert.equal(silent.status, 'ok')
  assert.match((await use('bash', { command: 'if then' })).output, /syntax error/)
})

test('the directory is kept from one command to the next, also when the command exits or breaks', async (t) => {
  const { workspace, use } = await openBench(t)
  await mkdir(join(workspace, 'src/deep'), { recursive: true })
  await use('bash', { command: 'cd src; cd deep; false' })
  assert.match((await use('bash', { command: 'pwd' })).output, /\/workspace\/src\/deep\n/)
  await use('bash', { command: 'cd ..; exit 3' })
  assert.match((await use('bash', { command: 'pwd; (cd deep)' })).output, /\/workspace\/src\n/)
  assert.match((await use('bash', { command: 'pwd', cwd: '.' })).output, /\/workspace\n/)
  await use('bash', { command: 'mkdir gone; cd gone; rmdir ../gone' })
  assert.match((await use('bash', { command: 'pwd' })).output, /\/workspace\n/)
  assert.equal((await use('bash', { command: 'pwd', cwd: '..' })).errorCode, 'path_refused')
  assert.equal((await use('bash', { command: 'pwd', cwd: 'nowhere' })).errorCode, 'path_refused')
})

test('a command sees an allow-listed environment and nothing else of the runner', async (t) => {
  const { use } = await openBench(t, {
    env: { OPENAI_API_KEY: 'sk-secret', NODE_OPTIONS: '--no-warnings', TERM: 'xterm' },
  })
  const { output } = await use('bash', { command: 'env' })
  const names = [...output.matchAll(/^([A-Za-z_]\w*)=/gm)].map(([, name]) => name)
  const allowed = new Set([
    ...[
      'PATH',
      'HOME',
      'LANG',
      'LC_ALL',
      'TERM',
      'TMPDIR',
      'TZ',
      'USER',
      'CI',
      'PAGER',
      'GIT_PAGER',
      'GIT_TERMINAL_PROMPT',
    ],
    ...['GIT_CONFIG_COUNT', 'GIT_CONFIG_KEY_0', 'GIT_CONFIG_VALUE_0', 'MGX_CALL', 'PWD', 'SHLVL', '_', 'OLDPWD'],
    ...['SSL_CERT_FILE', 'SSL_CERT_DIR', 'NODE_EXTRA_CA_CERTS', 'NODE_USE_SYSTEM_CA', 'REQUESTS_CA_BUNDLE'],
  ])
  assert.deepEqual(
    names.filter((name) => !allowed.has(name ?? '')),
    [],
  )
  assert.match(output, /^CI=1$/m)
  assert.match(output, /^TERM=xterm$/m)
})

test('a child in the background does not hold the command back, and is stopped when the run ends', async (t) => {
  const { use, toolbox } = await openBench(t)
  const result = await use('bash', { command: 'sleep 300 & echo $!; echo hi' })
  const [, pid = '', file = ''] = /^(\d+)\nhi\n\(exit code 0; .*which write to (.*)\)$/.exec(result.output) ?? []
  assert.equal(result.status, 'ok')
  assert.equal(isAlive(Number(pid)), true)
  assert.equal(existsSync(file), true)
  await toolbox[Symbol.asyncDispose]()
  await waitFor(() => isGone(Number(pid)))
  assert.equal(existsSync(file), false)
})

test('a command that takes too long is stopped with all its children, also those that ignore TERM', async (t) => {
  const { use } = await openBench(t)
  const command = `(trap '' TERM; sleep 300) & echo $!; sleep 301`
  const result = await use('bash', { command, timeout_s: 1 })
  assert.deepEqual([result.status, result.errorCode], ['timeout', 'timeout'])
  assert.match(result.output, /^(\d+)\n\(stopped after 1 s; /)
  await waitFor(() => isGone(Number.parseInt(result.output, 10)))
})

test('an abort stops the command at once', async (t) => {
  const { use, progress } = await openBench(t)
  const controller = new AbortController()
  const running = use('bash', { command: 'echo $$; sleep 300' }, controller.signal)
  await waitFor(() => progress.join('').includes('\n'))
  controller.abort()
  const result = await running
  assert.equal(result.status, 'aborted')
  await waitFor(() => isGone(Number.parseInt(result.output, 10)))
})

test('in a container, processes that left the group are found by their marker and killed', async (t) => {
  const { use } = await openBench(t, { inContainer: true })
  const result = await use('bash', { command: 'setsid sleep 300 & echo $!; sleep 301', timeout_s: 1 })
  await waitFor(() => isGone(Number.parseInt(result.output, 10)))
})

test('outside of one they are left alone: they might be anybody', async (t) => {
  const { use } = await openBench(t)
  const result = await use('bash', { command: 'setsid sleep 300 & echo $!; sleep 301', timeout_s: 1 })
  const pid = Number.parseInt(result.output, 10)
  await sleep(100)
  assert.equal(await isGone(pid), false)
  process.kill(pid, 'SIGKILL')
})

test('of a long output the model gets head and tail; the whole of it is in a file that git ignores', async (t) => {
  const { workspace, use } = await openBench(t)
  const result = await use('bash', { command: 'seq 1 20000' })
  assert.ok(result.output.length < 31_000)
  assert.match(result.output, /^1\n2\n[\s\S]*characters left out …[\s\S]*\n20000\n\(exit code 0; /)
  assert.match(result.output, /whole output: \.mgx\/outputs\/call_1\.log\)$/)
  const whole = await readFile(join(workspace, '.mgx/outputs/call_1.log'), 'utf8')
  assert.equal(whole.split('\n').length, 20_001)
  assert.deepEqual(result.outputRef, { path: '.mgx/outputs/call_1.log', sha256: hashOf(whole) })
  assert.equal(result.outputBytes, Buffer.byteLength(whole))
  assert.equal(await readFile(join(workspace, '.mgx/.gitignore'), 'utf8'), '*\n')
})

test('a command that floods is stopped', async (t) => {
  const { use } = await openBench(t)
  const result = await use('bash', { command: 'yes' })
  assert.deepEqual([result.status, result.errorCode], ['error', 'too_large'])
  assert.equal(result.outputBytes, 16 * 1024 * 1024)
  assert.match(result.output, /stopped: it wrote more than 16777216 bytes/)
})

test('output is shown while it comes', async (t) => {
  const { use, progress } = await openBench(t)
  const running = use('bash', { command: 'printf "caf\\xc3"; while ! test -e go; do sleep 0.05; done; printf "\\xa9"' })
  await waitFor(() => progress.join('') === 'caf')
  await use('write', { path: 'go', content: '' })
  await running
  assert.equal(progress.join(''), 'café')
})

test('what is refused is refused before anything runs', async (t) => {
  const { workspace, use } = await openBench(t, { refusal: 'Not here.' })
  const result = await use('bash', { command: 'touch ran' })
  assert.deepEqual([result.status, result.output], ['denied', 'Not here.'])
  assert.equal(existsSync(join(workspace, 'ran')), false)
})
