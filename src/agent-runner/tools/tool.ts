import type * as z from 'zod'
import type { EventData, ToolKind } from '#contracts/events.ts'

/** What became of a tool call. A failure is a result like any other: the model reads it and goes on. */
export type ToolResult = {
  readonly status: EventData['tool_end']['status']
  /** For the model. */
  readonly output: string
  /** Bytes of the whole output, where `output` is only a part of it. */
  readonly outputBytes?: number
  readonly outputRef?: { readonly path: string; readonly sha256: string }
  readonly exitCode?: number
  readonly signal?: string
  readonly errorCode?: string
  /** What went wrong, in one line; the first line of `output` unless given. */
  readonly errorMessage?: string
  readonly changed?: Pick<EventData['file_changed'], 'path' | 'change' | 'bytes'>
}

export type ToolContext = {
  readonly callId: string
  readonly signal: AbortSignal
  /** Output while it comes, for people. */
  readonly progress: (text: string) => void
}

/** One tool: what the model is told of it, what people see of a call, and what it does. `run` never rejects for what the model did. */
export type AgentTool<Input = never> = {
  readonly description: string
  readonly input: z.ZodType<Input>
  readonly kind: ToolKind
  readonly risk: EventData['tool_start']['risk']
  /** One line for people. */
  readonly title: (input: Input) => string
  readonly run: (input: Input, context: ToolContext) => Promise<ToolResult>
}

export const failure = (errorCode: string, output: string): ToolResult => ({ status: 'error', output, errorCode })

export const errorText = (error: unknown): string => (error instanceof Error ? error.message : String(error))

/** Node's code of a failed system call (`ENOENT`), or `undefined`. */
export const errnoOf = (error: unknown): string | undefined => {
  const code = (error as { code?: unknown } | undefined)?.code
  return typeof code === 'string' ? code : undefined
}
