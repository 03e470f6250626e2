import type { EventData, EventType } from '#contracts/events.ts'
import { headBytes, headTailBytes } from './text-size.ts'

/** Makes an event's data fit the sizes of the contract, in bytes of UTF-8. Pure. */

const KIB = 1024
export const DELTA_MAX_BYTES = 4 * KIB
export const CONTENT_MAX_BYTES = 256 * KIB
export const REASONING_MAX_BYTES = 64 * KIB
const PROMPT_MAX = 8 * KIB
const INPUT_MAX = 16 * KIB
const OUTPUT_MAX = 16 * KIB
const MESSAGE_MAX = 4 * KIB
/** All arguments of one message together, so that no event comes near the 512 KiB that a gateway refuses. */
const ARGUMENTS_MAX = 128 * KIB
const TITLE_MAX = 200

type Json = Readonly<Record<string, unknown>>

const jsonBytes = (value: unknown): number => Buffer.byteLength(JSON.stringify(value) ?? '')

/** The input with long texts shortened; where that is not enough, only what it was called. */
export const capInput = (input: Json): Json => {
  if (jsonBytes(input) <= INPUT_MAX) return input
  const shorten = (value: unknown): unknown => {
    if (typeof value === 'string') return headTailBytes(value, 4 * KIB)
    if (Array.isArray(value)) return value.slice(0, 8).map(shorten)
    if (typeof value !== 'object' || value === null) return value
    return Object.fromEntries(Object.entries(value).map(([key, part]) => [key, shorten(part)]))
  }
  const shorter = shorten(input) as Json
  if (jsonBytes(shorter) <= INPUT_MAX) return shorter
  return {
    left_out: `${jsonBytes(input)} bytes`,
    keys: Object.keys(input)
      .slice(0, 20)
      .map((key) => headBytes(key, 100)),
  }
}

type ToolCalls = EventData['message_complete']['tool_calls']

const capArguments = (calls: ToolCalls): ToolCalls => {
  let room = ARGUMENTS_MAX
  return calls.map((call) => {
    const size = Buffer.byteLength(call.arguments)
    if (size <= room) {
      room -= size
      return call
    }
    return { ...call, arguments: JSON.stringify({ left_out: `${size} bytes` }) }
  })
}

const capError = <T extends { message: string }>(error: T): T => ({
  ...error,
  message: headBytes(error.message, MESSAGE_MAX),
})

const CAPS: { [T in EventType]?: (data: EventData[T]) => EventData[T] } = {
  agent_start: (data) => ({ ...data, prompt: headBytes(data.prompt, PROMPT_MAX) }),
  message_complete: (data) => ({
    ...data,
    content: headBytes(data.content, CONTENT_MAX_BYTES),
    ...(data.reasoning === undefined ? {} : { reasoning: headBytes(data.reasoning, REASONING_MAX_BYTES) }),
    tool_calls: capArguments(data.tool_calls),
  }),
  tool_start: (data) => ({ ...data, title: headBytes(data.title, TITLE_MAX), input: capInput(data.input) }),
  tool_output_delta: (data) => ({ ...data, delta: headBytes(data.delta, OUTPUT_MAX) }),
  tool_end: (data) => ({
    ...data,
    output: headTailBytes(data.output, OUTPUT_MAX),
    ...(data.error === undefined ? {} : { error: capError(data.error) }),
  }),
  error: capError,
  log: capError,
  agent_end: (data) => ({
    ...data,
    ...(data.summary === undefined ? {} : { summary: headTailBytes(data.summary, MESSAGE_MAX) }),
    ...(data.error === undefined ? {} : { error: capError(data.error) }),
  }),
  finish: (data) => ({ ...data, ...(data.error === undefined ? {} : { error: headBytes(data.error, MESSAGE_MAX) }) }),
}

export const capData = <T extends EventType>(type: T, data: EventData[T]): EventData[T] => CAPS[type]?.(data) ?? data
