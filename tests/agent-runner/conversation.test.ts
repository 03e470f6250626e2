import assert from 'node:assert/strict'
import { test } from 'node:test'
import { addEvent, createConversation, INTERRUPTED } from '#agent-runner/conversation.ts'
import { type EventData, type EventType, makeEvent, type SessionEvent } from '#contracts/events.ts'
import { newRunId } from '#contracts/ids.ts'
import { announceRun } from '#store/announce.ts'
import { calls, says } from './scripted-model.ts'
import { openWorld, serveRun, startRunner } from './world.ts'

const RUN = { tenant_id: 'default', session_id: 's', run_id: 'r', workspace_id: 'w' }

const event = <T extends EventType>(type: T, data: EventData[T]) =>
  ({ ...makeEvent(RUN, 'x', type, data), seq: 1 }) as unknown as SessionEvent

const message = (content: string, callIds: readonly string[] = [], extra: object = {}) =>
  event('message_complete', {
    message_id: 'm',
    role: 'assistant',
    content,
    tool_calls: callIds.map((id) => ({ id, name: 'bash', arguments: '{"command":"ls"}' })),
    finish_reason: 'stop',
    deltas: 0,
    model: 'm',
    ...extra,
  })

const toolEnd = (id: string, output: string, status: 'ok' | 'aborted' = 'ok') =>
  event('tool_end', {
    tool_call_id: id,
    tool_name: 'bash',
    status,
    output,
    output_bytes: 0,
    duration_ms: 0,
    last_in_batch: true,
  })

const user = (content: string) => event('user_message', { message_id: 'u', content, source: 'client' })

const fold = (...events: SessionEvent[]) => {
  const conversation = createConversation()
  for (const each of events) addEvent(conversation, each)
  return conversation
    .messages()
    .map(({ role, content }) =>
      typeof content === 'string'
        ? [role, content]
        : [role, ...content.map((part) => ('text' in part ? part.text : 'output' in part ? part.output : part.type))],
    )
}

test('the log of earlier runs becomes a conversation in which every call has a result', () => {
  assert.deepEqual(
    fold(
      user('go'),
      message('', ['a', 'b']),
      toolEnd('a', 'files'),
      message('half', [], { discarded: true }),
      message('done'),
      user('and now?'),
      message('trying', ['c']),
      toolEnd('c', '', 'aborted'),
      message('', ['d', 'e']),
      user('again'),
    ),
    [
      ['user', 'go'],
      ['assistant', 'tool-call', 'tool-call'],
      ['tool', { type: 'text', value: 'files' }, { type: 'text', value: INTERRUPTED }],
      ['assistant', 'done'],
      ['user', 'and now?'],
      ['assistant', 'trying', 'tool-call'],
      ['tool', { type: 'text', value: INTERRUPTED }],
      ['assistant', 'tool-call', 'tool-call'],
      ['tool', { type: 'text', value: INTERRUPTED }, { type: 'text', value: INTERRUPTED }],
      ['user', 'again'],
    ],
  )
})

test('an end without a call, or a second one, changes nothing', () => {
  assert.deepEqual(
    fold(user('go'), toolEnd('x', 'stray'), message('', ['a']), toolEnd('a', 'one'), toolEnd('a', 'two')),
    [
      ['user', 'go'],
      ['assistant', 'tool-call'],
      ['tool', { type: 'text', value: 'one' }],
    ],
  )
})

test('the next run of a session goes on where the last one ended, read from the log', async (t) => {
  const world = await openWorld(t, {
    prompt: 'first',
    replies: [
      calls([{ name: 'bash', args: { command: 'echo tool-says' } }]),
      says('First done.'),
      says('Second done.'),
    ],
  })
  await world.start().exited
  const run = { ...world.run, run_id: newRunId(), prompt: 'second' }
  await announceRun(world.events, run)
  await using _worker = await serveRun(world.events, world.model.baseUrl, run, world.socket)
  const job = world.job({ run_id: run.run_id, prompt: 'second' })
  const next = startRunner(t, world.workspace, { input: JSON.stringify(job) })
  assert.equal((await next.exited).code, 0)
  const asked = world.model.requests.at(-1)?.messages ?? []
  assert.deepEqual(
    asked.map((each) => each.role),
    ['system', 'user', 'assistant', 'tool', 'assistant', 'user'],
  )
  assert.match(String(asked[3]?.content), /tool-says/)
  assert.equal(asked[5]?.content, 'second')
})
