import { type EventData, eventIds, makeEvent, type NewEvent, type SessionEvent } from '#contracts/events.ts'
import type { Run } from '#contracts/run.ts'

type OpenMessage = { readonly model: string; text: string; reasoning: string; deltas: number }

type State = {
  readonly messages: Map<string, OpenMessage>
  readonly tools: Map<string, { readonly name: string; readonly since: number }>
  readonly agent: { started: boolean; ended: boolean; model: string; steps: number; calls: number }
}

/** What a run has begun and not ended, folded from its events in order. */
export type OpenParts = {
  add(event: SessionEvent): void
  /** The events that close it, in the order of the contract: messages, tools, then the agent. */
  closings(run: Run, reason: string): NewEvent[]
}

/** Most of an aborted message's text that its closing carries, in characters; the contract's limit is 256 KiB. */
const MAX_TEXT = 64 * 1024

const addDelta = ({ messages, agent }: State, data: EventData['message_delta']): void => {
  const open = messages.get(data.message_id) ?? { model: agent.model, text: '', reasoning: '', deltas: 0 }
  const key = data.kind === 'text' ? 'text' : 'reasoning'
  open[key] = (open[key] + data.delta).slice(0, MAX_TEXT)
  open.deltas += 1
  messages.set(data.message_id, open)
}

const addEvent = (state: State, event: SessionEvent): void => {
  const { messages, tools, agent } = state
  switch (event.event_type) {
    case 'agent_start':
      agent.started = true
      agent.model = event.data.model
      break
    case 'message_delta':
      addDelta(state, event.data)
      break
    case 'message_complete':
      agent.steps += 1
      messages.delete(event.data.message_id)
      break
    case 'tool_start':
      agent.calls += 1
      tools.set(event.data.tool_call_id, { name: event.data.tool_name, since: event.timestamp.getTime() })
      break
    case 'tool_end':
      tools.delete(event.data.tool_call_id)
      break
    case 'agent_end':
      agent.ended = true
      break
  }
}

const closeMessages = ({ messages }: State, run: Run): NewEvent[] =>
  [...messages].map(([id, open]) =>
    makeEvent(run, eventIds.closeMessage(run.run_id, id), 'message_complete', {
      message_id: id,
      role: 'assistant',
      content: open.text,
      ...(open.reasoning === '' ? {} : { reasoning: open.reasoning }),
      tool_calls: [],
      finish_reason: 'aborted',
      deltas: open.deltas,
      model: open.model,
    }),
  )

const closeTools = ({ tools }: State, run: Run, reason: string): NewEvent[] =>
  [...tools].map(([id, tool], i) =>
    makeEvent(run, eventIds.closeTool(run.run_id, id), 'tool_end', {
      tool_call_id: id,
      tool_name: tool.name,
      status: 'aborted',
      output: '',
      output_bytes: 0,
      error: { code: 'aborted', message: reason, retryable: false },
      duration_ms: Math.max(0, Date.now() - tool.since),
      last_in_batch: i === tools.size - 1,
    }),
  )

const closeAgent = ({ agent }: State, run: Run, reason: string): NewEvent[] => {
  if (!agent.started || agent.ended) return []
  const status = reason === 'cancelled' ? 'cancelled' : 'failed'
  const data = { status, reason, steps: agent.steps, tool_calls: agent.calls } as const
  return [makeEvent(run, eventIds.agentEnd(run.run_id), 'agent_end', data)]
}

export const createOpenParts = (): OpenParts => {
  const state: State = {
    messages: new Map(),
    tools: new Map(),
    agent: { started: false, ended: false, model: '', steps: 0, calls: 0 },
  }
  return {
    add: (event) => addEvent(state, event),
    closings: (run, reason) => [
      ...closeMessages(state, run),
      ...closeTools(state, run, reason),
      ...closeAgent(state, run, reason),
    ],
  }
}
