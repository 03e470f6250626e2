import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createRedactor } from '#agent-runner/secrets.ts'
import { openRecorder as open, STORED, scriptedSink } from './scripted-sink.ts'

test('secrets, NUL and lone surrogates reach no sink, wherever in an event they are', async () => {
  const secret = 'sk-1234567890/abc'
  const { sink, tries } = scriptedSink(() => STORED)
  const { recorder } = open(sink, { redactor: createRedactor([secret]) })
  recorder.record('tool_start', {
    tool_call_id: 'c',
    message_id: 'm',
    tool_name: 'bash',
    kind: 'execute',
    title: `curl ${secret}`,
    input: {
      [secret]: [{ deep: Buffer.from(secret).toString('base64') }],
      url: encodeURIComponent(secret),
      nul: 'a\0b',
      half: '\ud83d',
    },
    risk: 'unknown',
    attempt: 1,
  })
  await recorder.flush()
  const sent = JSON.stringify(tries[0]?.events)
  assert.equal(sent.includes('1234567890'), false)
  assert.equal(sent.includes(Buffer.from(secret).toString('base64').slice(0, 12)), false)
  const [event] = tries[0]?.events ?? []
  assert.equal(event?.event_type === 'tool_start' && event.data.input.nul, 'a\uFFFDb')
  assert.equal(event?.event_type === 'tool_start' && event.data.input.half, '\uFFFD')
})

test('every event fits the sizes of the contract', async () => {
  const { sink, tries } = scriptedSink(() => STORED)
  const { recorder } = open(sink)
  const long = 'é'.repeat(500_000)
  recorder.record('message_complete', {
    message_id: 'm',
    role: 'assistant',
    content: long,
    reasoning: long,
    tool_calls: [{ id: '1', name: 'write', arguments: JSON.stringify({ content: long }) }],
    finish_reason: 'tool_calls',
    deltas: 0,
    model: 'x',
  })
  recorder.record('tool_end', {
    tool_call_id: 'c',
    tool_name: 'bash',
    status: 'ok',
    output: `first${long}last`,
    output_bytes: 1,
    duration_ms: 1,
    last_in_batch: true,
  })
  await recorder.flush()
  const [message, end] = tries.flatMap((each) => each.events)
  assert.ok(Buffer.byteLength(JSON.stringify(message?.data)) < 512 * 1024)
  assert.ok(message?.event_type === 'message_complete' && Buffer.byteLength(message.data.content) <= 256 * 1024)
  assert.doesNotThrow(
    () => message?.event_type === 'message_complete' && JSON.parse(message.data.tool_calls[0]?.arguments ?? ''),
  )
  assert.ok(end?.event_type === 'tool_end' && Buffer.byteLength(end.data.output) <= 16 * 1024)
  assert.match(end?.event_type === 'tool_end' ? end.data.output : '', /^first[\s\S]*bytes left out[\s\S]*last$/)
})
