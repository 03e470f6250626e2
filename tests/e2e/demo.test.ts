import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'
import { tempDir, waitFor } from '../helpers.ts'
import { startRoot } from '../main/process.ts'

const LIMIT = { timeout: 120_000 }
const run = promisify(execFile)

test('make demo without Docker: one run, told as it goes, everything stopped after it', LIMIT, async (t) => {
  const root = await tempDir(t)
  const { code, stdout, stderr } = await (await startRoot(t, 'demo', { WORKSPACES_ROOT: root, ENGINE: 'process' }))
    .ended
  assert.equal(code, 0, stderr)
  assert.ok(!stdout.includes('\u001b'), 'no escape sequences in a pipe')
  for (const said of [
    /NO ISOLATION/,
    /scripted demo model, because OPENAI_API_KEY is not set/,
    /› Make a small page/,
    /✓ Write index\.html/,
    /✗ .*exit 1/,
    /✓ success \(completed\) in/,
    /\d+ B {2}index\.html/,
    /make dev/,
    /has been stopped/,
  ]) {
    assert.match(stdout.replaceAll(/\n +/g, ' ').concat(stdout), said)
  }
  const [session = ''] = (await readdir(root)).filter((name) => name.startsWith('demo-'))
  assert.deepEqual((await readdir(join(root, session))).sort(), ['index.html', 'script.js', 'style.css'])
})

test('KEEP=1 leaves the server running, and the commands it names work as they stand', LIMIT, async (t) => {
  const env = {
    WORKSPACES_ROOT: await tempDir(t),
    ENGINE: 'process',
    PORT: '0',
    KEEP: '1',
    PROMPT: 'Say "hello" & more',
  }
  const demo = await startRoot(t, 'demo', env)
  await waitFor(() => /still runs at .*Ctrl-C/.test(demo.said().stdout), { what: 'the end', timeoutMs: 60_000 })
  const commands = [...demo.said().stdout.matchAll(/^ {2}(curl .*)$/gm)].map(([, command = '']) => command)
  assert.equal(commands.length, 2)
  for (const command of commands) {
    const { stdout } = await run('sh', ['-c', `${command.replace(' -N', ' -sS -N')} --max-time 60`])
    assert.match(stdout, /event: finish\ndata: .*"cause":"completed"/)
  }
  demo.child.kill('SIGINT')
  assert.equal((await demo.ended).code, 0)
})

test('Ctrl-C ends the run as cancelled and the demo with 130', LIMIT, async (t) => {
  const demo = await startRoot(t, 'demo', { WORKSPACES_ROOT: await tempDir(t), ENGINE: 'process', PORT: '0' })
  await waitFor(() => demo.said().stdout.includes('agent started'), { what: 'the agent' })
  demo.child.kill('SIGINT')
  const { code, stdout } = await demo.ended
  assert.equal(code, 130)
  assert.match(stdout, /✗ cancelled in/)
})

test('a run that fails makes the demo fail, and says why', LIMIT, async (t) => {
  const env = { WORKSPACES_ROOT: await tempDir(t), ENGINE: 'process', PORT: '0' }
  const model = { OPENAI_BASE_URL: 'http://127.0.0.1:1/v1', AGENT_TASK_TIMEOUT_SECONDS: '5' }
  const { code, stdout } = await (await startRoot(t, 'demo', { ...env, ...model })).ended
  assert.equal(code, 1)
  assert.match(stdout, /✗ (timeout|failed)/)
})
