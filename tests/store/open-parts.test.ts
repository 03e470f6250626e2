import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { EventData, EventType, SessionEvent } from '#contracts/events.ts'
import type { Run } from '#contracts/run.ts'
import { newRun } from '#store/accept-rules.ts'
import { createOpenParts } from '#store/open-parts.ts'
import { newRef, newRunOf, say } from '../conformance/store-world.ts'

const run: Run = newRun(newRunOf(newRef()))

const fold = (said: readonly { [T in EventType]: [T, Partial<EventData[T]>] }[EventType][]) => {
  const parts = createOpenParts()
  said.forEach(([type, data], i) => {
    parts.add({ ...say(run, type, data as never, `r:${i}`), seq: i + 1 } as SessionEvent)
  })
  return parts.closings(run, 'timeout').map((event) => [event.event_type, event.data] as const)
}

const names = (said: Parameters<typeof fold>[0]) => fold(said).map(([type]) => type)

test('nothing begun, nothing to close', () => {
  assert.deepEqual(names([['user_message', {}]]), [])
})

test('messages first, then tools, then the agent', () => {
  assert.deepEqual(
    names([
      ['agent_start', { model: 'm' }],
      ['tool_start', { tool_call_id: 't', tool_name: 'bash' }],
      ['message_delta', { message_id: 'a', kind: 'text', delta: 'x' }],
    ]),
    ['message_complete', 'tool_end', 'agent_end'],
  )
})

test('what was closed is not closed again', () => {
  assert.deepEqual(
    names([
      ['agent_start', { model: 'm' }],
      ['message_delta', { message_id: 'a', kind: 'text', delta: 'x' }],
      ['message_complete', { message_id: 'a' }],
      ['tool_start', { tool_call_id: 't', tool_name: 'bash' }],
      ['tool_end', { tool_call_id: 't' }],
      ['agent_end', {}],
    ]),
    [],
  )
})

test('an aborted message carries the text that was shown, text and reasoning apart', () => {
  const [closing] = fold([
    ['agent_start', { model: 'm' }],
    ['message_delta', { message_id: 'a', kind: 'reasoning', delta: 'hm' }],
    ['message_delta', { message_id: 'a', kind: 'text', delta: 'Hello ' }],
    ['message_delta', { message_id: 'a', kind: 'text', delta: 'you' }],
  ])
  assert.deepEqual(closing, [
    'message_complete',
    {
      message_id: 'a',
      role: 'assistant',
      content: 'Hello you',
      reasoning: 'hm',
      tool_calls: [],
      finish_reason: 'aborted',
      deltas: 3,
      model: 'm',
    },
  ])
})

test('the last of several open tools says that it is the last, and the agent counts what it did', () => {
  const closings = fold([
    ['agent_start', { model: 'm' }],
    ['message_complete', { message_id: 'a' }],
    ['tool_start', { tool_call_id: 't1', tool_name: 'bash' }],
    ['tool_start', { tool_call_id: 't2', tool_name: 'read' }],
  ])
  assert.deepEqual(
    closings.map(([, data]) => ('last_in_batch' in data ? data.last_in_batch : undefined)),
    [false, true, undefined],
  )
  const [, end] = closings.at(-1) ?? []
  assert.deepEqual(end, { status: 'failed', reason: 'timeout', steps: 1, tool_calls: 2 })
})
