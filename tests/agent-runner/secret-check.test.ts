import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { runJob } from '#agent-runner/run.ts'
import { commandEnv } from '#agent-runner/tools/command-env.ts'
import { readableEnvironments } from '#agent-runner/tools/secret-check.ts'
import { setupOf } from './in-process.ts'
import { calls, says } from './scripted-model.ts'
import { checkLog, openWorld } from './world.ts'

/** This process is an ordinary one, not the image's unreadable one: its children can read its environment. */
test('a process that can be read is found to be so', async () => {
  assert.ok((await readableEnvironments(commandEnv(process.env))).includes(process.pid))
})

const script = [
  calls([
    { name: 'bash', args: { command: 'touch ran' } },
    { name: 'write', args: { path: 'made', content: '' } },
  ]),
  says('Done.'),
]

test('in a container that can be read, with keys in the environment, commands are refused and the log says why', async (t) => {
  const world = await openWorld(t, { replies: script })
  assert.equal(await runJob(setupOf(world, { inContainer: true, envHoldsSecrets: true })), 'ok')
  checkLog(await world.log())
  assert.deepEqual(
    (await world.of('tool_end')).map(({ data }) => data.status),
    ['denied', 'ok'],
  )
  assert.equal(existsSync(join(world.workspace, 'ran')), false)
  const [log] = await world.of('log')
  assert.equal(log?.data.level, 'error')
  assert.match(log?.data.message ?? '', /it holds keys, so no command is run/)
})

test('without keys there, commands run, and the log warns', async (t) => {
  const world = await openWorld(t, { replies: script })
  assert.equal(await runJob(setupOf(world, { inContainer: true })), 'ok')
  assert.equal(existsSync(join(world.workspace, 'ran')), true)
  assert.equal((await world.of('log'))[0]?.data.level, 'warn')
})
