import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { openDemoModel } from '#main/demo-model.ts'
import { MARKER } from '#main/demo-page.ts'
import { type DemoMessage, demoReply } from '#main/demo-script.ts'

type Played = {
  readonly tools: readonly string[]
  readonly inputs: readonly string[]
  readonly messages: DemoMessage[]
}

/** Answers every call with what `result` says, until the model has nothing to call any more. */
const play = (prompt: string, before: readonly DemoMessage[], result: (name: string) => string): Played => {
  const messages: DemoMessage[] = [...before, { role: 'user', content: prompt }]
  const tools: string[] = []
  const inputs: string[] = []
  for (let step = 0; step < 20; step++) {
    const reply = demoReply(messages)
    messages.push({ role: 'assistant', content: reply.content })
    if (reply.toolCalls.length === 0) return { tools, inputs, messages }
    for (const call of reply.toolCalls) {
      tools.push(call.name)
      inputs.push(call.arguments)
      messages.push({ role: 'tool', content: result(call.name) })
    }
  }
  throw new Error('the script does not end')
}

const emptyDirectory = () => 'total 0'

describe('the script', () => {
  for (const prompt of ['Make a page', '', '部屋', '<script>alert("x")</script> & "more"', 'x'.repeat(10_000)]) {
    test(`any prompt builds the page: ${prompt.slice(0, 20)}`, () => {
      const { tools } = play(prompt, [], emptyDirectory)
      assert.deepEqual(tools, ['bash', 'write', 'write', 'write', 'bash', 'edit', 'bash'])
    })
  }

  test('a prompt cannot put markup into the page', () => {
    const { inputs } = play('<script>alert(1)</script>', [], emptyDirectory)
    assert.ok(!inputs.join().includes('<script>alert'))
  })

  test('a later prompt of the same session adds to the page that is there', () => {
    const first = play('Make a page', [], emptyDirectory)
    const second = play('Add a list', first.messages, (name) => (name === 'read' ? `21:  ${MARKER}` : 'index.html'))
    assert.deepEqual(second.tools, ['bash', 'read', 'edit', 'bash'])
    assert.match(second.inputs[2] ?? '', /Add a list/)
  })

  test('a page of somebody else is left alone', () => {
    const { tools } = play('Make it better', [], () => 'index.html')
    assert.deepEqual(tools, ['bash', 'read', 'bash', 'bash'])
  })

  test('the same messages get the same answer', () => {
    const messages = [{ role: 'user', content: [{ type: 'text', text: 'Make a page' }] }]
    assert.deepEqual(demoReply(messages), demoReply(messages))
  })
})

test('it is a server over HTTP that streams as OpenAI does, tool calls and usage included', async () => {
  await using model = await openDemoModel()
  const response = await fetch(`${model.baseUrl}/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({
      model: 'any',
      stream: true,
      stream_options: { include_usage: true },
      messages: [{ role: 'user', content: 'Make a page' }],
    }),
  })
  assert.equal(response.status, 200)
  const body = await response.text()
  const chunks = body.split('\n\n').flatMap((part) => (part.startsWith('data: {') ? [JSON.parse(part.slice(6))] : []))
  const calls = chunks.flatMap((chunk) => chunk.choices[0]?.delta.tool_calls ?? [])
  assert.equal(calls[0]?.function.name, 'bash')
  assert.ok(chunks.some((chunk) => chunk.usage?.total_tokens > 0))
  assert.match(body, /data: \[DONE\]\s*$/)
})
