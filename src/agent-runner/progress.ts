import type { EventData, Usage } from '#contracts/events.ts'
import { roundDollars } from '#contracts/prices.ts'

/** How far a run has come: what heartbeats and the end of the run report. Changed by the loop as it goes. */
export type Progress = {
  steps: number
  toolCalls: number
  state: EventData['heartbeat']['state']
  toolCallId: string | undefined
  usage: Usage | undefined
}

export const createProgress = (): Progress => ({
  steps: 0,
  toolCalls: 0,
  state: 'idle',
  toolCallId: undefined,
  usage: undefined,
})

const sum = (a: number | undefined, b: number | undefined): number => (a ?? 0) + (b ?? 0)

export const addUsage = (progress: Progress, usage: Usage | undefined): void => {
  if (usage === undefined) return
  const before = progress.usage
  const cached = sum(before?.cached_input_tokens, usage.cached_input_tokens)
  const reasoning = sum(before?.reasoning_tokens, usage.reasoning_tokens)
  progress.usage = {
    input_tokens: sum(before?.input_tokens, usage.input_tokens),
    output_tokens: sum(before?.output_tokens, usage.output_tokens),
    total_tokens: sum(before?.total_tokens, usage.total_tokens),
    ...(cached > 0 ? { cached_input_tokens: cached } : {}),
    ...(reasoning > 0 ? { reasoning_tokens: reasoning } : {}),
    ...(usage.cost_usd === undefined ? {} : { cost_usd: roundDollars(sum(before?.cost_usd, usage.cost_usd)) }),
    model: usage.model,
  }
}
