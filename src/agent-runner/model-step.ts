import { isStepCount, type LanguageModel, type ModelMessage, streamText, type TextStreamPart, type ToolSet } from 'ai'
import type { EventData, Usage } from '#contracts/events.ts'
import { costOf, type ModelPrice } from '#contracts/prices.ts'
import { CONTENT_MAX_BYTES, REASONING_MAX_BYTES } from './caps.ts'
import { type ModelFailure, modelFailure } from './model-failure.ts'
import type { Recorder } from './recorder.ts'
import type { Redactor, TextStream } from './secrets.ts'

/** Milliseconds. `chunkMs` does not cover the first one: a model that thinks may take longer over it. */
export type StepTimeouts = { readonly firstChunkMs: number; readonly chunkMs: number; readonly stepMs: number }

export const STEP_TIMEOUTS: StepTimeouts = { firstChunkMs: 60_000, chunkMs: 45_000, stepMs: 600_000 }

/** A tool that the model wants to have run; `problem`: its arguments are not what the tool takes, or there is no such tool. */
export type ToolCall = {
  readonly id: string
  readonly name: string
  readonly input: unknown
  /** As the model wrote them: JSON, or what it took for it. */
  readonly arguments: string
  readonly problem?: string
}

export type StepMessage = EventData['message_complete']

export type StepResult =
  | { readonly kind: 'message'; readonly message: StepMessage; readonly calls: readonly ToolCall[] }
  /** `usage`: it came whole, and is of no use all the same. */
  | { readonly kind: 'failed'; readonly failure: ModelFailure; readonly usage?: Usage | undefined }
  | { readonly kind: 'aborted'; readonly usage?: Usage | undefined }

export type StepInput = {
  readonly model: LanguageModel
  readonly modelName: string
  /** Where it is known, usage says what an answer cost. */
  readonly price?: ModelPrice | undefined
  readonly instructions: string
  readonly messages: ModelMessage[]
  /** Declared without `execute`: what runs is ours to decide, one call at a time. */
  readonly tools: ToolSet
  readonly messageId: string
  /** Gives a call an id that is its own in the whole session. */
  readonly callId: (given: string) => string
  readonly recorder: Pick<Recorder, 'record' | 'delta'>
  readonly redactor: Redactor
  readonly timeouts: StepTimeouts
  readonly signal: AbortSignal
}

type Part = TextStreamPart<ToolSet>
type Kind = 'text' | 'reasoning'

const LIMITS = { text: CONTENT_MAX_BYTES, reasoning: REASONING_MAX_BYTES } as const

/** One kind of a message's text: what is shown piece by piece is what is kept. */
const createShownText = (kind: Kind, { redactor, recorder, messageId }: StepInput) => {
  const stream: TextStream = redactor.stream()
  let shown = ''
  let bytes = 0
  const show = (text: string) => {
    bytes += Buffer.byteLength(text)
    if (text === '' || bytes > LIMITS[kind]) return
    shown += text
    recorder.delta(messageId, kind, text)
  }
  return { push: (text: string) => show(stream.push(text)), end: () => show(stream.end()), text: () => shown }
}

const FINISH_REASONS: Readonly<Record<string, StepMessage['finish_reason']>> = {
  stop: 'stop',
  'tool-calls': 'tool_calls',
  length: 'length',
  'content-filter': 'content_filter',
}

const toUsage = (
  usage: Extract<Part, { type: 'finish-step' }>['usage'],
  { modelName, price }: Pick<StepInput, 'modelName' | 'price'>,
): Usage | undefined => {
  const { inputTokens, outputTokens, totalTokens, inputTokenDetails, outputTokenDetails } = usage
  // Every question has tokens: an API that says none says nothing.
  if (!inputTokens && !outputTokens) return undefined
  const cached = inputTokenDetails.cacheReadTokens
  const reasoning = outputTokenDetails.reasoningTokens
  const tokens = {
    input_tokens: inputTokens ?? 0,
    output_tokens: outputTokens ?? 0,
    total_tokens: totalTokens ?? (inputTokens ?? 0) + (outputTokens ?? 0),
    ...(cached ? { cached_input_tokens: cached } : {}),
    ...(reasoning ? { reasoning_tokens: reasoning } : {}),
  }
  return { ...tokens, ...(price && { cost_usd: costOf(price, tokens) }), model: modelName }
}

/** The SDK repeats the whole input in its message. */
const PROBLEM_MAX_CHARS = 1_000

const toCall = (part: Extract<Part, { type: 'tool-call' }>, callId: StepInput['callId']): ToolCall => {
  const call = {
    id: callId(part.toolCallId),
    name: part.toolName,
    input: part.input as unknown,
    arguments: typeof part.input === 'string' ? part.input : JSON.stringify(part.input ?? {}),
  }
  if (part.invalid !== true) return call
  const { error } = part
  const problem = error instanceof Error ? error.message : String(error)
  return { ...call, problem: problem.slice(0, PROBLEM_MAX_CHARS) }
}

/** What a stream of parts amounts to. */
const createStepState = (input: StepInput) => {
  const texts = { text: createShownText('text', input), reasoning: createShownText('reasoning', input) }
  const calls: ToolCall[] = []
  let failure: ModelFailure | undefined
  let finish: { reason: StepMessage['finish_reason']; usage: Usage | undefined } | undefined

  const stall = (reason: string) => {
    failure ??= { code: 'stalled', message: `the model was too slow: ${reason}`, retryable: true }
  }

  const add = (part: Part) => {
    if (part.type === 'text-delta') texts.text.push(part.text)
    else if (part.type === 'reasoning-delta') texts.reasoning.push(part.text)
    else if (part.type === 'tool-call') calls.push(toCall(part, input.callId))
    else if (part.type === 'error') failure ??= modelFailure(part.error)
    else if (part.type === 'abort') stall(part.reason ?? 'it was aborted')
    else if (part.type === 'finish-step')
      finish = { reason: FINISH_REASONS[part.finishReason] ?? 'error', usage: toUsage(part.usage, input) }
  }

  const message = (reason: StepMessage['finish_reason']): StepMessage => {
    texts.reasoning.end()
    texts.text.end()
    const reasoning = texts.reasoning.text()
    return {
      message_id: input.messageId,
      role: 'assistant',
      content: texts.text.text(),
      ...(reasoning === '' ? {} : { reasoning }),
      tool_calls: calls.map(({ id, name, arguments: text }) => ({ id, name, arguments: text })),
      finish_reason: reason,
      deltas: 0,
      model: input.modelName,
      ...(finish?.usage === undefined ? {} : { usage: finish.usage }),
    }
  }
  return {
    add,
    stall,
    message,
    calls,
    fail: (error: unknown) => {
      failure ??= modelFailure(error)
    },
    outcome: () => ({ failure, finish }),
  }
}

/**
 * Aborts when nothing has come for `firstChunkMs`. The SDK's own timer of that name starts only when the response does, and so
 * waits for ever on a server that takes the request and says nothing.
 */
const awaitFirst = (ms: number) => {
  const slow = new AbortController()
  const timer = setTimeout(() => slow.abort(new Error(`no answer within ${ms} ms`)), ms)
  return { signal: slow.signal, came: () => clearTimeout(timer) }
}

const consume = async (input: StepInput, state: ReturnType<typeof createStepState>): Promise<void> => {
  const { model, instructions, messages, tools, timeouts, signal } = input
  const first = awaitFirst(timeouts.firstChunkMs)
  try {
    const result = streamText({
      model,
      instructions,
      messages,
      tools,
      stopWhen: isStepCount(1),
      maxRetries: 0,
      timeout: { chunkMs: timeouts.chunkMs, stepMs: timeouts.stepMs },
      abortSignal: AbortSignal.any([signal, first.signal]),
      onError: () => undefined,
    })
    for await (const part of result.stream) {
      if (part.type !== 'start' && part.type !== 'start-step') first.came()
      if (part.type === 'abort' && first.signal.aborted) state.stall(String(first.signal.reason))
      state.add(part)
    }
  } catch (error) {
    if (first.signal.aborted) state.stall(String(first.signal.reason))
    else state.fail(error)
  } finally {
    first.came()
  }
}

/**
 * One answer of the model, streamed into the log as it comes. Whatever was shown of an answer that broke off is closed as
 * `discarded`; of one that was aborted, as `aborted`.
 */
export const modelStep = async (input: StepInput): Promise<StepResult> => {
  const { recorder, signal } = input
  const state = createStepState(input)
  await consume(input, state)
  const { failure, finish } = state.outcome()
  const broken = (reason: 'error' | 'aborted', discarded?: true) => {
    const message = { ...state.message(reason), tool_calls: [] }
    if (message.content === '' && message.reasoning === undefined) return
    recorder.record('message_complete', discarded === undefined ? message : { ...message, discarded })
  }
  if (signal.aborted) {
    broken('aborted')
    return { kind: 'aborted', usage: finish?.usage }
  }
  if (failure !== undefined || finish === undefined || finish.reason === 'error') {
    broken('error', true)
    const eof = { code: 'stream_broken', message: 'the answer ended without a finish reason', retryable: true } as const
    return { kind: 'failed', failure: failure ?? eof, usage: finish?.usage }
  }
  const message = state.message(finish.reason)
  recorder.record('message_complete', message)
  return { kind: 'message', message, calls: state.calls }
}
