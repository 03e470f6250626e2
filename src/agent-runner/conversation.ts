import type { AssistantModelMessage, ModelMessage, ToolCallPart, ToolModelMessage } from 'ai'
import type { EventData, SessionEvent } from '#contracts/events.ts'

/** What a model is told about a tool that began and never ended. */
export const INTERRUPTED = '[interrupted]'

/**
 * The conversation as a model is given it, built the same way from the log of earlier runs and from what happens now.
 * Every call has a result, right behind the message that made it: a provider refuses anything else.
 */
export type Conversation = {
  user(text: string): void
  assistant(message: EventData['message_complete']): void
  result(callId: string, name: string, output: string): void
  messages(): ModelMessage[]
}

const parse = (text: string): unknown => {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null ? value : {}
  } catch {
    return {}
  }
}

const toAssistant = (message: EventData['message_complete']): AssistantModelMessage => ({
  role: 'assistant',
  content: [
    ...(message.content === '' ? [] : [{ type: 'text' as const, text: message.content }]),
    ...message.tool_calls.map(
      (call): ToolCallPart => ({
        type: 'tool-call',
        toolCallId: call.id,
        toolName: call.name,
        input: parse(call.arguments),
      }),
    ),
  ],
})

export const createConversation = (): Conversation => {
  const messages: ModelMessage[] = []
  let open = new Map<string, string>()

  const result = (callId: string, name: string, output: string) => {
    if (!open.delete(callId)) return
    const part = {
      type: 'tool-result' as const,
      toolCallId: callId,
      toolName: name,
      output: { type: 'text' as const, value: output },
    }
    const last = messages.at(-1)
    if (last?.role === 'tool') last.content.push(part)
    else messages.push({ role: 'tool', content: [part] } satisfies ToolModelMessage)
  }

  const closeOpen = () => {
    for (const [id, name] of open) result(id, name, INTERRUPTED)
    open = new Map()
  }

  return {
    user: (text) => {
      closeOpen()
      messages.push({ role: 'user', content: text })
    },
    assistant: (message) => {
      closeOpen()
      if (message.content === '' && message.tool_calls.length === 0) return
      messages.push(toAssistant(message))
      open = new Map(message.tool_calls.map((call) => [call.id, call.name]))
    },
    result,
    messages: () => {
      closeOpen()
      return [...messages]
    },
  }
}

/** Adds one event of the log to a conversation; events that no model needs to see change nothing. */
export const addEvent = (conversation: Conversation, event: SessionEvent): void => {
  if (event.event_type === 'user_message') conversation.user(event.data.content)
  else if (event.event_type === 'message_complete' && event.data.discarded !== true) conversation.assistant(event.data)
  else if (event.event_type === 'tool_end') {
    const { tool_call_id, tool_name, output, status } = event.data
    conversation.result(tool_call_id, tool_name, status === 'aborted' && output === '' ? INTERRUPTED : output)
  }
}
