import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { capData, capInput } from '#agent-runner/caps.ts'

const bytes = (value: unknown) => Buffer.byteLength(JSON.stringify(value))

test('whatever a model sends as input fits 16 KiB, and what fits already is left as it is', () => {
  const long = fc.string({ minLength: 0, maxLength: 200 }).map((text) => text.toWellFormed().repeat(200))
  const json = fc.dictionary(fc.string(), fc.oneof(long, fc.jsonValue(), fc.array(long)))
  fc.assert(
    fc.property(json, (input) => {
      const capped = capInput(input)
      assert.ok(bytes(capped) <= 16 * 1024)
      if (bytes(input) <= 16 * 1024) assert.equal(capped, input)
    }),
  )
})

test('a long text in an input keeps its head and its tail, and the rest of the input is there', () => {
  const capped = capInput({ path: 'a.txt', content: `first${'x'.repeat(100_000)}last` })
  assert.equal(capped.path, 'a.txt')
  assert.match(String(capped.content), /^first[\s\S]*bytes left out[\s\S]*last$/)
})

test('arguments that do not fit become JSON that says so, the small ones stay', () => {
  const { tool_calls } = capData('message_complete', {
    message_id: 'm',
    role: 'assistant',
    content: '',
    tool_calls: [
      { id: '1', name: 'write', arguments: JSON.stringify({ content: 'x'.repeat(200_000) }) },
      { id: '2', name: 'read', arguments: '{"path":"a"}' },
    ],
    finish_reason: 'tool_calls',
    deltas: 0,
    model: 'x',
  })
  assert.deepEqual(JSON.parse(tool_calls[0]?.arguments ?? ''), { left_out: '200014 bytes' })
  assert.equal(tool_calls[1]?.arguments, '{"path":"a"}')
})

test('the prompt in agent_start is at most 8 KiB of it', () => {
  const { prompt } = capData('agent_start', {
    agent_name: 'mgx',
    framework: 'static',
    model: 'm',
    tier: 'primary',
    prompt: 'é'.repeat(10_000),
    prompt_chars: 10_000,
    tools: [],
    limits: { max_steps: 1, deadline: '' },
    runner_version: '0',
  })
  assert.equal(Buffer.byteLength(prompt), 8192)
})
