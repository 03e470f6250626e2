import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { test } from 'node:test'
import { RunnerJob } from '#contracts/job.ts'
import { tempDir, waitFor } from '../helpers.ts'
import { says } from './scripted-model.ts'
import { checkLog, openWorld, startRunner } from './world.ts'

test('no job line: exit 66 at the end of the input, and after ten seconds of silence', async (t) => {
  const dir = await tempDir(t)
  const empty = startRunner(t, dir, { input: '' })
  const silent = startRunner(t, dir, {})
  assert.deepEqual(await empty.exited, { code: 66, signal: null })
  assert.match(empty.stderr(), /^mgx agent: no job: expected one JSON line .*\n$/)
  assert.deepEqual(await silent.exited, { code: 66, signal: null })
})

/** Resolves when a process has loaded what it loads and waits: asleep (proc_pid_stat(5)), with no CPU time used for a while. */
const asleep = async (pid: number | undefined): Promise<void> => {
  let [before, since] = ['', Date.now()]
  await waitFor(
    async () => {
      const [state = '', ...numbers] = (await readFile(`/proc/${pid}/stat`, 'utf8')).split(') ')[1]?.split(' ') ?? []
      const now = `${state} ${numbers.slice(10, 12)}`
      if (now !== before || state !== 'S') [before, since] = [now, Date.now()]
      return Date.now() - since > 400
    },
    { everyMs: 50, what: 'the runner to wait for its line' },
  )
}

test('TERM before the job line: exit 143', async (t) => {
  const runner = startRunner(t, await tempDir(t), {})
  await asleep(runner.child.pid)
  runner.child.kill('SIGTERM')
  assert.deepEqual(await runner.exited, { code: 143, signal: null })
})

const GOOD = {
  v: 1,
  tenant_id: 'default',
  session_id: 's',
  run_id: 'r',
  workspace_id: 'w',
  framework: 'static',
  prompt: 'p',
  model: 'm',
  max_steps: 1,
  deadline: '2030-01-01T00:00:00.000Z',
  channel: { kind: 'gateway', url: 'unix:/tmp/x', token: 'secret-token' },
}

for (const [what, line, message] of [
  ['not JSON', 'hello', /the line is not JSON/],
  ['not an object', '[1]', /the job line is wrong: .*expected object/],
  ['without a prompt', JSON.stringify({ ...GOOD, prompt: undefined }), /prompt: /],
  ['with an unknown channel', JSON.stringify({ ...GOOD, channel: { kind: 'pigeon' } }), /channel/],
  ['of another version', JSON.stringify({ ...GOOD, v: 2 }), /v: /],
  ['with a deadline that is no time', JSON.stringify({ ...GOOD, deadline: 'soon' }), /deadline: /],
] as const)
  test(`a bad job line (${what}): one clear line, exit 78`, async (t) => {
    const runner = startRunner(t, await tempDir(t), { input: `${line}\n` })
    assert.deepEqual(await runner.exited, { code: 78, signal: null })
    assert.match(runner.stderr(), message)
    assert.equal(runner.stderr().trim().split('\n').length, 1)
    assert.equal(runner.stderr().includes('secret-token'), false)
  })

test('the good job of these tests is one', () => {
  assert.equal(RunnerJob.safeParse(GOOD).success, true)
})

test('a job that looks right and is not ends its run, so that its clients see why', async (t) => {
  const world = await openWorld(t, { replies: [says('never asked')] })
  const runner = world.start({ ...({ colour: 'red' } as object) })
  assert.equal((await runner.exited).code, 78)
  checkLog(await world.log())
  const [finish] = await world.of('finish')
  assert.equal(finish?.data.cause, 'agent_error')
  assert.match(finish?.data.error ?? '', /the job is wrong: .*colour/)
})

test('a line may come in pieces, and its end may be the end of the input', async (t) => {
  const world = await openWorld(t, { replies: [says('ok')] })
  const runner = startRunner(t, world.workspace, {})
  const text = JSON.stringify(world.job())
  for (const part of [text.slice(0, 50), text.slice(50)]) {
    runner.child.stdin?.write(part)
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
  runner.child.stdin?.end()
  assert.equal((await runner.exited).code, 0)
})

test('a workspace that is not there ends the run as workspace_unavailable, with the remedy', async (t) => {
  const world = await openWorld(t, { replies: [says('never asked')] })
  const gone = `${world.workspace}-gone`
  const runner = startRunner(t, world.workspace, {
    input: `${JSON.stringify(world.job())}\n`,
    env: { WORKSPACE_DIR: gone },
  })
  assert.equal((await runner.exited).code, 78)
  checkLog(await world.log())
  const [finish] = await world.of('finish')
  assert.equal(finish?.data.cause, 'workspace_unavailable')
  assert.match(finish?.data.error ?? '', /does not exist; mount a directory there/)
})
