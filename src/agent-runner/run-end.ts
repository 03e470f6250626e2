import { type Cause, statusOf } from '#contracts/causes.ts'
import type { EventData } from '#contracts/events.ts'
import { RESULT_TEXT } from '#contracts/run.ts'
import type { LoopEnd } from './loop.ts'
import type { Progress } from './progress.ts'
import type { ExitName } from './runner-setup.ts'

/** How a run ended, seen from the runner. */
export type RunEnd =
  | Exclude<LoopEnd, { kind: 'stopped' }>
  /** Somebody asked for the end: TERM, or `cancel_requested` or `stopping` in the log. */
  | { readonly kind: 'ending' }
  | { readonly kind: 'deadline'; readonly seconds: number }
  /** The workspace, or the job itself, is not what it must be. */
  | { readonly kind: 'unusable'; readonly cause: Cause; readonly message: string }

/** What is written at the end, and how the process leaves. Pure. */
export type LastWords = {
  readonly agent: Pick<EventData['agent_end'], 'status' | 'reason' | 'summary' | 'error'>
  readonly cause: Cause
  readonly error?: string
  readonly exit: ExitName
}

const wordsFor = (cause: Cause, code: string, message: string, retryable: boolean, exit: ExitName): LastWords => ({
  agent: { status: 'failed', reason: code, error: { code, message, retryable } },
  cause,
  error: message,
  exit,
})

export const lastWords = (end: RunEnd, progress: Progress): LastWords => {
  switch (end.kind) {
    case 'completed':
      return {
        agent: { status: 'completed', reason: 'completed', summary: end.summary },
        cause: 'completed',
        exit: 'ok',
      }
    case 'max_steps': {
      const error = `The agent used all of its ${progress.steps} steps; give it more with options.max_steps, or a smaller task`
      return { agent: { status: 'max_steps', reason: 'max_steps' }, cause: 'max_steps', error, exit: 'failed' }
    }
    case 'budget_exceeded': {
      const error = `The agent has used $${end.costUsd} of the $${end.maxCostUsd} it may; give it more with options.max_cost_usd, or a smaller task`
      return {
        agent: { status: 'budget_exceeded', reason: 'budget_exceeded' },
        cause: 'budget_exceeded',
        error,
        exit: 'failed',
      }
    }
    case 'failed':
      return wordsFor('agent_error', end.code, end.message, end.retryable, 'failed')
    case 'ending':
      return { agent: { status: 'cancelled', reason: 'cancelled' }, cause: 'cancelled', exit: 'terminated' }
    case 'deadline':
      return wordsFor('timeout', 'timeout', RESULT_TEXT.timeout(end.seconds), true, 'failed')
    case 'unusable':
      return wordsFor(end.cause, end.cause, end.message, false, 'badJob')
  }
}

/** `agent_end` and `finish` of a run. */
export const endData = (
  words: LastWords,
  progress: Progress,
  durationMs: number,
): { agentEnd: EventData['agent_end']; finish: EventData['finish'] } => {
  const usage = progress.usage === undefined ? {} : { usage: progress.usage }
  return {
    agentEnd: { ...words.agent, steps: progress.steps, tool_calls: progress.toolCalls, ...usage },
    finish: {
      status: statusOf(words.cause),
      cause: words.cause,
      ...(words.error === undefined ? {} : { error: words.error }),
      duration_ms: durationMs,
      ...usage,
      synthetic: false,
    },
  }
}
