import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { type ChatCompletionRequest, type FixtureResponse, LLMock } from '@copilotkit/aimock'
import { checkLog, openWorld } from './world.ts'

/** Matches the n-th answer of a conversation, from 0. */
const turn = (n: number) => ({
  endpoint: 'chat' as const,
  predicate: (request: ChatCompletionRequest) =>
    request.messages.filter((message) => message.role === 'assistant').length === n,
})

const uses = (name: string, args: object): FixtureResponse => ({
  toolCalls: [{ name, arguments: JSON.stringify(args) }],
})

test('a whole run against a model server that others wrote, in small pieces', async (t) => {
  const mock = new LLMock({ host: '127.0.0.1', port: 0, logLevel: 'silent' })
  t.after(() => mock.stop())
  const pieces = { chunkSize: 3 }
  mock.on(turn(0), uses('write', { path: 'app.js', content: 'console.log(40 + 1)\n' }), pieces)
  mock.on(turn(1), uses('edit', { path: 'app.js', edits: [{ old: '40 + 1', new: '40 + 2' }] }), pieces)
  mock.on(turn(2), uses('bash', { command: 'node app.js' }), pieces)
  mock.on(turn(3), { content: 'It prints 42.' }, pieces)
  const world = await openWorld(t, { prompt: 'print 42', upstream: `${await mock.start()}/v1` })
  const runner = world.start()
  assert.equal((await runner.exited).code, 0, runner.stderr())
  checkLog(await world.log())
  assert.equal(await readFile(join(world.workspace, 'app.js'), 'utf8'), 'console.log(40 + 2)\n')
  assert.match((await world.of('tool_end')).at(-1)?.data.output ?? '', /^42\n/)
  assert.equal((await world.of('agent_end'))[0]?.data.summary, 'It prints 42.')
})
