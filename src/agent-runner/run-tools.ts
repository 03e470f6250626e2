import type { ToolCall } from './model-step.ts'
import type { Progress } from './progress.ts'
import type { Recorder } from './recorder.ts'
import type { Redactor } from './secrets.ts'
import { headBytes } from './text-size.ts'
import { errorText, failure, type ToolResult } from './tools/tool.ts'
import type { ReadyTool, Toolbox } from './tools/toolbox.ts'

export type RunToolsDeps = {
  readonly toolbox: Toolbox
  readonly recorder: Pick<Recorder, 'record'>
  readonly redactor: Redactor
  readonly progress: Progress
  readonly signal: AbortSignal
  /** A line for people who read the runner's output. */
  readonly say: (line: string) => void
}

export type CallResult = { readonly call: ToolCall; readonly output: string }

/** Output that is shown while it comes, per call; the whole of it is in `tool_end` and its file. */
const LIVE_MAX_BYTES = 64 * 1024

const createLiveOutput = (deps: RunToolsDeps, callId: string) => {
  const stream = deps.redactor.stream()
  let index = 0
  let room = LIVE_MAX_BYTES
  return (text: string) => {
    const delta = headBytes(stream.push(text), room)
    if (delta === '') return
    room -= Buffer.byteLength(delta)
    deps.recorder.record('tool_output_delta', { tool_call_id: callId, stream: 'stdout', index, delta })
    index += 1
  }
}

const inputOf = (call: ToolCall): Readonly<Record<string, unknown>> =>
  typeof call.input === 'object' && call.input !== null && !Array.isArray(call.input)
    ? { ...call.input }
    : { arguments: call.arguments }

const titleOf = (tool: ReadyTool | undefined, call: ToolCall): string => {
  const title = tool === undefined || call.problem !== undefined ? call.name : tool.title(call.input)
  return title.replaceAll(/\s+/g, ' ')
}

const runOne = async (deps: RunToolsDeps, tool: ReadyTool | undefined, call: ToolCall): Promise<ToolResult> => {
  if (call.problem !== undefined) return failure('invalid_call', call.problem)
  if (tool === undefined) return failure('invalid_call', `there is no tool ${call.name}`)
  const context = { callId: call.id, signal: deps.signal, progress: createLiveOutput(deps, call.id) }
  try {
    return await tool.run(call.input, context)
  } catch (error) {
    return failure('tool_failed', `the tool failed: ${errorText(error)}`)
  }
}

const recordEnd = (
  deps: RunToolsDeps,
  call: ToolCall,
  result: ToolResult,
  output: string,
  ms: number,
  last: boolean,
) => {
  if (result.changed !== undefined)
    deps.recorder.record('file_changed', { ...result.changed, source: 'edit', tool_call_id: call.id })
  const isOk = result.status === 'ok'
  deps.recorder.record('tool_end', {
    tool_call_id: call.id,
    tool_name: call.name,
    status: result.status,
    output,
    output_bytes: result.outputBytes ?? Buffer.byteLength(output),
    ...(result.outputRef === undefined ? {} : { output_ref: result.outputRef }),
    ...(result.exitCode === undefined ? {} : { exit_code: result.exitCode }),
    ...(result.signal === undefined ? {} : { signal: result.signal }),
    ...(isOk
      ? {}
      : {
          error: {
            code: result.errorCode ?? 'failed',
            message: firstLine(result.errorMessage ?? output),
            retryable: false,
          },
        }),
    duration_ms: ms,
    last_in_batch: last,
  })
}

const firstLine = (text: string): string => headBytes(text.split('\n', 1)[0] ?? '', 500)

/** Runs the calls of one message in order, each between its `tool_start` and its `tool_end`; stops at an abort. */
export const runTools = async (
  deps: RunToolsDeps,
  messageId: string,
  calls: readonly ToolCall[],
): Promise<CallResult[]> => {
  const { toolbox, recorder, redactor, progress, signal, say } = deps
  const results: CallResult[] = []
  for (const [i, call] of calls.entries()) {
    if (signal.aborted) break
    const tool = toolbox.find(call.name)
    const title = titleOf(tool, call)
    progress.toolCalls += 1
    progress.state = 'tool'
    progress.toolCallId = call.id
    recorder.record('tool_start', {
      tool_call_id: call.id,
      message_id: messageId,
      tool_name: call.name,
      kind: tool?.kind ?? 'other',
      title,
      input: inputOf(call),
      risk: tool?.risk ?? 'unknown',
      attempt: 1,
    })
    const began = Date.now()
    const result = await runOne(deps, tool, call)
    const output = redactor.clean(result.output)
    const ms = Date.now() - began
    recordEnd(deps, call, result, output, ms, i === calls.length - 1 || signal.aborted)
    say(`${call.name}: ${title} (${result.status}, ${(ms / 1000).toFixed(1)} s)`)
    results.push({ call, output })
  }
  progress.toolCallId = undefined
  return results
}
