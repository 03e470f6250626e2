import { createOpenAICompatible } from '@ai-sdk/openai-compatible'
import type { LanguageModel } from 'ai'

export type ModelConfig = {
  /** Up to and including the version: `https://api.openai.com/v1`. */
  readonly baseUrl: string
  readonly apiKey: string
  readonly model: string
  /** How requests travel; the runtime's own `fetch` unless given. */
  readonly fetch?: typeof globalThis.fetch
}

/** A model behind an OpenAI-compatible API (chat completions, streamed, with usage). Allocates only. */
export const createModel = ({ baseUrl, apiKey, model, fetch }: ModelConfig): LanguageModel =>
  createOpenAICompatible({
    name: 'openai-compatible',
    baseURL: baseUrl,
    apiKey,
    includeUsage: true,
    ...(fetch === undefined ? {} : { fetch }),
  }).chatModel(model)
