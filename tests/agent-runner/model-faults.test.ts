import assert from 'node:assert/strict'
import { test } from 'node:test'
import { begins, calls, fails, says } from './scripted-model.ts'
import { checkLog, openWorld, UPSTREAM_KEY } from './world.ts'

const QUICK = { 'retry-after-ms': '20' }

test('429 with Retry-After and 500 are tried again, as errors that are not fatal', async (t) => {
  const world = await openWorld(t, { replies: [fails(429, QUICK), fails(500, QUICK), says('At last.')] })
  assert.equal((await world.start().exited).code, 0)
  checkLog(await world.log())
  assert.deepEqual(
    (await world.of('error')).map(({ data }) => [data.code, data.retryable, data.fatal]),
    [
      ['rate_limited', true, false],
      ['model_unavailable', true, false],
    ],
  )
  assert.equal((await world.of('message_complete')).length, 1)
})

test('a model that refuses ends the run at once, with its reason', async (t) => {
  const world = await openWorld(t, { replies: [fails(400, {}, `no such model, says the key ${UPSTREAM_KEY}`)] })
  assert.equal((await world.start().exited).code, 1)
  checkLog(await world.log())
  assert.equal(world.model.requests.length, 1)
  const [finish] = await world.of('finish')
  assert.deepEqual([finish?.data.status, finish?.data.cause], ['failed', 'agent_error'])
  assert.match(finish?.data.error ?? '', /400: no such model, says the key \[redacted\]/)
  const [end] = await world.of('agent_end')
  assert.deepEqual([end?.data.status, end?.data.error?.code], ['failed', 'model_refused'])
})

test('a model that never recovers is given up after four tries', async (t) => {
  const bad = fails(503, QUICK)
  const world = await openWorld(t, { replies: [bad, bad, bad, bad, says('too late')] })
  assert.equal((await world.start().exited).code, 1)
  assert.equal(world.model.requests.length, 4)
  assert.equal((await world.of('agent_end'))[0]?.data.error?.code, 'model_unavailable')
})

for (const how of ['cut', 'eof'] as const)
  test(`an answer that breaks off (${how}) is discarded, and asked for again as another message`, async (t) => {
    const world = await openWorld(t, { replies: [begins(['Half an ', 'ans'], how), says('Whole.')] })
    assert.equal((await world.start().exited).code, 0)
    checkLog(await world.log())
    const [broken, whole] = await world.of('message_complete')
    assert.deepEqual(
      [broken?.data.discarded, broken?.data.finish_reason, broken?.data.content],
      [true, 'error', 'Half an ans'],
    )
    assert.deepEqual([whole?.data.discarded, whole?.data.content], [undefined, 'Whole.'])
    assert.notEqual(broken?.data.message_id, whole?.data.message_id)
    assert.deepEqual(
      world.model.requests[1]?.messages.map((message) => message.role),
      ['system', 'user'],
      'the discarded message is no part of the conversation',
    )
    assert.equal((await world.of('error'))[0]?.data.code, 'stream_broken')
  })

test('arguments that are not JSON, of the wrong type, or of no tool there is go back to the model as errors', async (t) => {
  const world = await openWorld(t, {
    replies: [
      calls([
        { name: 'read', args: '{"path": ' },
        { name: 'read', args: { path: 7 } },
        { name: 'rewind', args: { by: 3 } },
      ]),
      says('Sorry.'),
    ],
  })
  assert.equal((await world.start().exited).code, 0)
  checkLog(await world.log())
  const ends = await world.of('tool_end')
  assert.deepEqual(
    ends.map(({ data }) => [data.tool_name, data.status, data.error?.code]),
    [
      ['read', 'error', 'invalid_call'],
      ['read', 'error', 'invalid_call'],
      ['rewind', 'error', 'invalid_call'],
    ],
  )
  const told = world.model.requests[1]?.messages.filter((message) => message.role === 'tool')
  assert.match(String(told?.[0]?.content), /JSON parsing failed/)
  assert.match(String(told?.[1]?.content), /expected string/)
  assert.match(String(told?.[2]?.content), /unavailable tool 'rewind'/)
})

test('a call cut off at the output limit is not made; the model is told to make smaller ones, and given up in the end', async (t) => {
  const cut = calls([{ name: 'write', args: '{"path":"a.txt","content":"abc' }], { reason: 'length' })
  const world = await openWorld(t, { replies: [cut, cut, cut, says('never asked')] })
  assert.equal((await world.start().exited).code, 1)
  checkLog(await world.log())
  assert.equal(world.model.requests.length, 3)
  assert.match(String(world.model.requests[1]?.messages.at(-1)?.content), /cut off at the output limit/)
  assert.deepEqual(
    (await world.of('tool_end')).map(({ data }) => data.status),
    ['error', 'error'],
  )
  assert.equal((await world.of('agent_end'))[0]?.data.error?.code, 'output_limit')
})

test('calls that all have the same id get ids of their own', async (t) => {
  const call = [{ name: 'bash', args: { command: 'echo one' }, id: 'call_0' }]
  const odd = [{ name: 'bash', args: { command: 'echo two' }, id: '../../etc/passwd' }]
  const world = await openWorld(t, { replies: [calls(call), calls(call), calls(odd), says('ok')] })
  assert.equal((await world.start().exited).code, 0)
  checkLog(await world.log())
  const ids = (await world.of('tool_start')).map(({ data }) => data.tool_call_id)
  assert.equal(new Set(ids).size, 3)
  assert.equal(
    ids.every((id) => /^[A-Za-z0-9_-]+$/.test(id)),
    true,
  )
})
