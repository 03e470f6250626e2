import assert from 'node:assert/strict'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import type { SessionEvent } from '#contracts/events.ts'
import { calls, type Reply, says } from './scripted-model.ts'
import { checkLog, openWorld, startRunner, UPSTREAM_KEY } from './world.ts'

const typesOf = (log: readonly SessionEvent[]) => log.map((event) => event.event_type)

test('a run says everything in order: agent_start first, each tool between its start and end, finish last', async (t) => {
  const world = await openWorld(t, {
    prompt: 'make a page',
    replies: [
      calls([{ name: 'write', args: { path: 'index.html', content: '<h1>Hi</h1>\n' } }], { text: 'I write it.' }),
      calls([
        { name: 'read', args: { path: 'index.html' } },
        { name: 'edit', args: { path: 'index.html', edits: [{ old: 'Hi', new: 'Hello' }] } },
        { name: 'bash', args: { command: 'cat index.html; exit 3' } },
      ]),
      says('All ', 'done.'),
    ],
  })
  const runner = world.start()
  assert.deepEqual(await runner.exited, { code: 0, signal: null }, runner.stderr())
  const log = await world.log()
  checkLog(log)
  assert.deepEqual(
    typesOf(log).filter((type) => !['message_delta', 'tool_output_delta', 'heartbeat'].includes(type)),
    [
      ...['user_message', 'run_state', 'agent_start'],
      ...['message_complete', 'tool_start', 'file_changed', 'tool_end'],
      ...['message_complete', 'tool_start', 'tool_end', 'tool_start', 'file_changed', 'tool_end'],
      ...['tool_start', 'tool_end', 'message_complete', 'agent_end', 'finish'],
    ],
  )
  assert.equal(await readFile(join(world.workspace, 'index.html'), 'utf8'), '<h1>Hello</h1>\n')
  const ends = await world.of('tool_end')
  assert.deepEqual(
    ends.map(({ data }) => [data.tool_name, data.status, data.exit_code]),
    [
      ['write', 'ok', undefined],
      ['read', 'ok', undefined],
      ['edit', 'ok', undefined],
      ['bash', 'error', 3],
    ],
  )
  assert.match(ends[3]?.data.output ?? '', /^<h1>Hello<\/h1>\n\(exit code 3; /)
  assert.deepEqual(
    ends.map(({ data }) => data.last_in_batch),
    [true, false, false, true],
  )
  const [finish] = await world.of('finish')
  assert.equal(finish?.data.status, 'success')
  assert.equal(finish?.data.cause, 'completed')
  assert.equal(finish?.data.synthetic, false)
  assert.equal(finish?.data.usage?.total_tokens, 45)
  const [end] = await world.of('agent_end')
  assert.deepEqual([end?.data.status, end?.data.steps, end?.data.tool_calls], ['completed', 3, 4])
  assert.equal(end?.data.summary, 'All done.')
})

test('what the model is sent: the key of the gateway, the briefing, the tools, and each result behind its call', async (t) => {
  const world = await openWorld(t, {
    prompt: 'look around',
    replies: [calls([{ name: 'read', args: { path: '.' } }]), says('Seen.')],
  })
  await writeFile(join(world.workspace, 'a.txt'), 'x')
  await world.start().exited
  const [first, second] = world.model.requests
  assert.equal(first?.authorization, `Bearer ${UPSTREAM_KEY}`)
  assert.equal(first?.model, 'scripted')
  assert.deepEqual(
    first?.tools.map((tool) => tool.function.name),
    ['read', 'write', 'edit', 'bash'],
  )
  assert.deepEqual(
    first?.messages.map((message) => message.role),
    ['system', 'user'],
  )
  assert.match(String(first?.messages[0]?.content), /Plain HTML, CSS and JavaScript/)
  assert.deepEqual(
    second?.messages.map((message) => message.role),
    ['system', 'user', 'assistant', 'tool'],
  )
  assert.match(String(second?.messages[3]?.content), /a\.txt/)
})

test('agent_start says what the run works with', async (t) => {
  const world = await openWorld(t, { replies: [says('ok')] })
  const job = world.job({ max_cost_usd: 2, price: { input: 1, output: 1 } })
  await world.start(job).exited
  const [start] = await world.of('agent_start')
  const { runner_version, ...data } = start?.data ?? {}
  assert.match(String(runner_version), /^\d+\.\d+\.\d+/)
  assert.deepEqual(data, {
    agent_name: 'mgx',
    framework: 'static',
    model: 'scripted',
    tier: 'primary',
    prompt: 'do it',
    prompt_chars: 5,
    tools: ['read', 'write', 'edit', 'bash'],
    limits: { max_steps: 20, max_cost_usd: 2, deadline: job.deadline },
    container_id: job.container_id,
  })
})

test('a run that has used its budget ends as budget_exceeded behind the answer that exceeded it, without its calls', async (t) => {
  const again = calls([{ name: 'bash', args: { command: 'true' } }])
  const world = await openWorld(t, { replies: [again, again, again] })
  // Each answer is 10 tokens of input and 5 of output: 20 millionths of a dollar.
  const { code } = await world.start({ max_cost_usd: 0.00004, price: { input: 1, output: 2 } }).exited
  assert.equal(code, 1)
  checkLog(await world.log())
  assert.equal(world.model.requests.length, 2)
  assert.equal((await world.of('tool_end')).length, 1)
  assert.deepEqual(
    (await world.of('message_complete')).map(({ data }) => data.usage?.cost_usd),
    [0.00002, 0.00002],
  )
  const [end] = await world.of('agent_end')
  assert.equal(end?.data.status, 'budget_exceeded')
  const [finish] = await world.of('finish')
  assert.deepEqual([finish?.data.status, finish?.data.cause], ['failed', 'budget_exceeded'])
  assert.deepEqual(finish?.data.usage?.cost_usd, 0.00004)
  assert.match(finish?.data.error ?? '', /used \$0\.00004 of the \$0\.00004 it may.*max_cost_usd/)
})

test('a budget on a model API that tells no usage ends the run: nobody could keep it', async (t) => {
  const silent: Reply = (response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    const call = { index: 0, id: 'c1', type: 'function', function: { name: 'bash', arguments: '{"command":"true"}' } }
    const choice = { index: 0, delta: { role: 'assistant', tool_calls: [call] }, finish_reason: null }
    const chunk = { id: 'c', object: 'chat.completion.chunk', created: 1, model: 'm' }
    response.write(`data: ${JSON.stringify({ ...chunk, choices: [choice] })}\n\n`)
    response.write(
      `data: ${JSON.stringify({ ...chunk, choices: [{ index: 0, delta: {}, finish_reason: 'tool_calls' }] })}\n\n`,
    )
    response.end('data: [DONE]\n\n')
  }
  const world = await openWorld(t, { replies: [silent, says('ok')] })
  await world.start({ max_cost_usd: 1, price: { input: 1, output: 2 } }).exited
  const [finish] = await world.of('finish')
  assert.equal(finish?.data.cause, 'agent_error')
  assert.match(finish?.data.error ?? '', /does not say how many tokens it used, so options.max_cost_usd cannot be kept/)
  assert.equal(world.model.requests.length, 1)
})

test('an answer that came whole and is of no use is paid for: it counts, and the budget ends the tries', async (t) => {
  const useless: Reply = (response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    const chunk = { id: 'c', object: 'chat.completion.chunk', created: 1, model: 'm' }
    const choice = { index: 0, delta: { content: 'well' }, finish_reason: 'eos' }
    const usage = { prompt_tokens: 10, completion_tokens: 5, total_tokens: 15 }
    response.write(`data: ${JSON.stringify({ ...chunk, choices: [choice] })}\n\n`)
    response.write(`data: ${JSON.stringify({ ...chunk, choices: [], usage })}\n\n`)
    response.end('data: [DONE]\n\n')
  }
  const world = await openWorld(t, { replies: [useless, useless, says('ok')] })
  await world.start({ max_cost_usd: 0.00002, price: { input: 1, output: 2 } }).exited
  assert.equal(world.model.requests.length, 1)
  const [finish] = await world.of('finish')
  assert.deepEqual([finish?.data.cause, finish?.data.usage?.cost_usd], ['budget_exceeded', 0.00002])
})

test('an agent that is done within its last answer is done, whatever it cost', async (t) => {
  const world = await openWorld(t, { replies: [says('ok')] })
  const { code } = await world.start({ max_cost_usd: 0.000001, price: { input: 1, output: 2 } }).exited
  assert.equal(code, 0)
  assert.deepEqual(
    (await world.of('finish')).map(({ data }) => [data.cause, data.usage?.cost_usd]),
    [['completed', 0.00002]],
  )
})

test('a budget without a price is refused before the model is asked', async (t) => {
  const world = await openWorld(t, { replies: [says('ok')] })
  await world.start({ max_cost_usd: 1 }).exited
  const [finish] = await world.of('finish')
  assert.equal(finish?.data.cause, 'agent_error')
  assert.match(finish?.data.error ?? '', /max_cost_usd: cannot be kept without the price of the model \(MODEL_PRICES/)
  assert.equal(world.model.requests.length, 0)
})

test('a run that uses all its steps ends as max_steps', async (t) => {
  const again = calls([{ name: 'bash', args: { command: 'true' } }])
  const world = await openWorld(t, { replies: [again, again, again] })
  const { code } = await world.start({ max_steps: 2 }).exited
  assert.equal(code, 1)
  checkLog(await world.log())
  assert.equal(world.model.requests.length, 2)
  const [end] = await world.of('agent_end')
  assert.equal(end?.data.status, 'max_steps')
  const [finish] = await world.of('finish')
  assert.deepEqual([finish?.data.status, finish?.data.cause], ['failed', 'max_steps'])
  assert.match(finish?.data.error ?? '', /2 steps.*max_steps/)
})

test('a deadline that no worker kept ends the run as timeout', async (t) => {
  const world = await openWorld(t, { replies: [calls([{ name: 'bash', args: { command: 'sleep 60' } }])] })
  const runner = world.start({ deadline: new Date(Date.now() + 4_000).toISOString() })
  assert.equal((await runner.exited).code, 1)
  const log = await world.log()
  checkLog(log)
  const [finish] = await world.of('finish')
  assert.deepEqual([finish?.data.status, finish?.data.cause], ['timeout', 'timeout'])
  assert.match(finish?.data.error ?? '', /^Agent task timeout after \d+ seconds$/)
  assert.equal((await world.of('tool_end'))[0]?.data.status, 'aborted')
})

test('the output of the process is a story for people, without secrets', async (t) => {
  const world = await openWorld(t, {
    replies: [calls([{ name: 'bash', args: { command: 'echo hi', description: 'Greets' } }]), says('Bye.')],
  })
  const runner = world.start()
  await runner.exited
  assert.match(
    runner.stdout(),
    new RegExp(
      `agent started: session ${world.run.session_id}.*\\nbash: Greets \\(ok, .*\\nBye\\.\\nagent ended: completed`,
    ),
  )
  assert.equal(runner.stdout().includes(world.token), false)
  assert.equal(runner.stderr(), '')
})

test('agent_start says what the container is made of, where the worker has said so', async (t) => {
  const world = await openWorld(t, { replies: [says('Done.')] })
  const env = { AGENT_IMAGE: 'mgx:next', AGENT_IMAGE_TRACK: 'canary' }
  const runner = startRunner(t, world.workspace, { input: `${JSON.stringify(world.job())}\n`, env })
  assert.equal((await runner.exited).code, 0, runner.stderr())
  assert.deepEqual((await world.of('agent_start'))[0]?.data.image, { name: 'mgx:next', track: 'canary' })
})
