import { type ModelPrices, priceOf } from '#contracts/prices.ts'
import type { GENERAL } from './config-variables.ts'
import { ConfigError, type Values } from './read-env.ts'

/** Rules between variables, beyond what one value must look like. Each throws `ConfigError`. */

/** A model API as the gateway calls it, with the key that it puts in on the way. */
export type ModelApi = { readonly baseUrl: string; readonly apiKey: string }

const OPENAI = 'https://api.openai.com/v1'

/** Sent to model servers that ask for no key: some refuse an empty one. */
const NO_KEY = 'none'

export const required = <T>(name: string, value: T | undefined, rule: string): T => {
  if (value === undefined) throw new ConfigError([`${name}: is not set; it ${rule}`])
  return value
}

/** Without one the embedded mode uses the scripted model. */
export const hasModelApi = (values: Values<typeof GENERAL.model>): boolean =>
  values.OPENAI_API_KEY !== undefined || values.OPENAI_BASE_URL !== undefined

export const modelApi = (values: Values<typeof GENERAL.model>): ModelApi => {
  const { OPENAI_API_KEY: key, OPENAI_BASE_URL: baseUrl } = values
  if (!hasModelApi(values)) {
    throw new ConfigError([
      'OPENAI_API_KEY: is not set; agents need a model. Set it, or OPENAI_BASE_URL for a model server that asks for no key',
    ])
  }
  return { baseUrl: baseUrl ?? OPENAI, apiKey: key ?? NO_KEY }
}

/** Where prices are known at all, a run that names no model has one, too: the API counts on that. */
export const modelPrices = (values: Values<typeof GENERAL.model>): { readonly prices?: ModelPrices } => {
  const { MODEL_PRICES: prices, OPENAI_MODEL: model } = values
  if (prices === undefined) return {}
  // The scripted model costs nothing.
  if (!hasModelApi(values) || priceOf(prices, model) !== undefined) return { prices }
  throw new ConfigError([`MODEL_PRICES: has no price of OPENAI_MODEL=${model}; add ${model}=…, or *=… for all others`])
}

/** What to say when tracing is configured. */
export const tracingNotice = (values: Values<typeof GENERAL.model>): readonly string[] =>
  [values.LANGFUSE_PUBLIC_KEY, values.LANGFUSE_SECRET_KEY, values.LANGFUSE_HOST].some((value) => value !== undefined)
    ? ['LANGFUSE_* is set, and not used yet: tracing comes in a later version']
    : []
