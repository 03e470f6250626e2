import { randomUUID } from 'node:crypto'
import type { LanguageModel } from 'ai'
import type { ModelPrice } from '#contracts/prices.ts'
import type { Conversation } from './conversation.ts'
import type { ModelFailure } from './model-failure.ts'
import { modelStep, type StepResult, type StepTimeouts, type ToolCall } from './model-step.ts'
import { backOff, pause } from './pause.ts'
import { addUsage } from './progress.ts'
import type { Recorder } from './recorder.ts'
import { type RunToolsDeps, runTools } from './run-tools.ts'

/** How often and how long a step that failed is tried again. Milliseconds. */
export type RetryLimits = {
  readonly attempts: number
  readonly firstPause: number
  readonly maxPause: number
  /** The longest wait that a model API may ask for. */
  readonly maxRetryAfter: number
  /** Between two looks for a gateway that is not there; such looks are not counted. */
  readonly gatewayPause: number
}

export const RETRY_LIMITS: RetryLimits = {
  attempts: 4,
  firstPause: 1_000,
  maxPause: 16_000,
  maxRetryAfter: 60_000,
  gatewayPause: 500,
}

/** Answers in a row that were cut off by the model's output limit: a model that goes on like that never ends. */
const MAX_TRUNCATED = 3

export const TRUNCATED_CALL =
  'This call was not made: your answer was cut off at the output limit, so its arguments are incomplete. Make smaller calls: write a large file in several parts, the first with write, the others appended with edit or bash.'
const TRUNCATED_TEXT = 'Your answer was cut off at the output limit. Go on where it ended, in shorter parts.'

const USAGE_MISSING = 'the model API does not say how many tokens it used, so options.max_cost_usd cannot be kept'

export type LoopDeps = Omit<RunToolsDeps, 'recorder'> & {
  readonly recorder: Pick<Recorder, 'record' | 'delta' | 'ready'>
  readonly conversation: Conversation
  readonly model: LanguageModel
  readonly modelName: string
  readonly instructions: string
  readonly maxSteps: number
  readonly price?: ModelPrice | undefined
  /** US dollars; needs `price`. */
  readonly maxCostUsd?: number | undefined
  readonly timeouts: StepTimeouts
  readonly retry: RetryLimits
  readonly callId: (given: string) => string
}

/** How the loop ended. `stopped`: `signal` aborted. */
export type LoopEnd =
  | { readonly kind: 'completed'; readonly summary: string }
  | { readonly kind: 'max_steps' }
  | { readonly kind: 'budget_exceeded'; readonly maxCostUsd: number; readonly costUsd: number }
  | { readonly kind: 'failed'; readonly code: string; readonly message: string; readonly retryable: boolean }
  | { readonly kind: 'stopped' }

const pauseAfter = (failure: ModelFailure, n: number, retry: RetryLimits): number =>
  failure.retryAfterMs === undefined
    ? backOff(n, retry.firstPause, retry.maxPause)
    : Math.min(failure.retryAfterMs, retry.maxRetryAfter)

/** What is used up; the run ends behind the answer that did it. */
const overBudget = ({ maxCostUsd, progress }: LoopDeps): LoopEnd | undefined => {
  const costUsd = progress.usage?.cost_usd ?? 0
  return maxCostUsd === undefined || costUsd < maxCostUsd ? undefined : { kind: 'budget_exceeded', maxCostUsd, costUsd }
}

/** One answer of the model, tried again as long as that makes sense; each try is a message of its own. */
const patientStep = async (deps: LoopDeps): Promise<StepResult> => {
  const { recorder, retry, signal, conversation, toolbox, progress } = deps
  const messages = conversation.messages()
  let told = false
  for (let failures = 0; ; ) {
    await recorder.ready(signal)
    if (signal.aborted) return { kind: 'aborted' }
    progress.state = 'model'
    const result = await modelStep({ ...deps, messages, tools: toolbox.declared, messageId: randomUUID() })
    addUsage(progress, result.kind === 'message' ? result.message.usage : result.usage)
    if (result.kind !== 'failed' || overBudget(deps) !== undefined) return result
    const { failure } = result
    const isGateway = failure.code === 'gateway_unavailable'
    if (!isGateway) failures += 1
    if (!failure.retryable || failures >= retry.attempts) return result
    if (!isGateway || !told) {
      const { code, message, retryable } = failure
      recorder.record('error', { code, message, retryable, fatal: false })
      deps.say(`the model did not answer (${code}): ${message}`)
    }
    told ||= isGateway
    await pause(isGateway ? retry.gatewayPause : pauseAfter(failure, failures - 1, retry), signal)
  }
}

type Answer = Extract<StepResult, { kind: 'message' }>

/** What the model wanted, done; what came of it is in the conversation. */
const act = async (deps: LoopDeps, { message, calls }: Answer): Promise<void> => {
  const { conversation } = deps
  conversation.assistant(message)
  const truncated = message.finish_reason === 'length'
  if (truncated && calls.length === 0) return conversation.user(TRUNCATED_TEXT)
  const wanted: readonly ToolCall[] = truncated ? calls.map((call) => ({ ...call, problem: TRUNCATED_CALL })) : calls
  for (const { call, output } of await runTools(deps, message.message_id, wanted))
    conversation.result(call.id, call.name, output)
}

const failed = (code: string, message: string, retryable = false): LoopEnd => ({
  kind: 'failed',
  code,
  message,
  retryable,
})

/**
 * Lets the model work: one answer, the tools it asks for, the next answer, until it asks for none. What an answer cost is known
 * behind it, so that a budget is exceeded by one answer at most.
 */
export const runLoop = async (deps: LoopDeps): Promise<LoopEnd> => {
  const { progress, signal } = deps
  let truncated = 0
  while (progress.steps < deps.maxSteps) {
    const step = await patientStep(deps)
    if (step.kind === 'aborted') return { kind: 'stopped' }
    if (step.kind === 'failed')
      return overBudget(deps) ?? failed(step.failure.code, step.failure.message, step.failure.retryable)
    const { message, calls } = step
    progress.steps += 1
    if (message.content !== '') deps.say(message.content)
    if (message.finish_reason === 'content_filter')
      return failed('content_filter', "the model's provider held its answer back")
    truncated = message.finish_reason === 'length' ? truncated + 1 : 0
    if (truncated === 0 && calls.length === 0) return { kind: 'completed', summary: message.content }
    if (truncated >= MAX_TRUNCATED)
      return failed('output_limit', `the model's answer was cut off at its output limit ${truncated} times in a row`)
    // Nobody can hold a budget who is not told what was used.
    if (deps.maxCostUsd !== undefined && message.usage === undefined) return failed('usage_missing', USAGE_MISSING)
    const over = overBudget(deps)
    if (over !== undefined) return over
    await act(deps, step)
    progress.state = 'idle'
    if (signal.aborted) return { kind: 'stopped' }
  }
  return { kind: 'max_steps' }
}
