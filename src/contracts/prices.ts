import type { Usage } from './events.ts'

/** US dollars for a million tokens. `cached_input`: of input that the provider had in its cache; as other input unless told. */
export type ModelPrice = {
  readonly input: number
  readonly output: number
  readonly cached_input?: number | undefined
}

/** By the model's name; `*` = every other one. */
export type ModelPrices = Readonly<Record<string, ModelPrice>>

const AMOUNT = '\\d{1,6}(?:\\.\\d{1,6})?'
const ENTRY = new RegExp(`^(\\S+)=(${AMOUNT})/(${AMOUNT})(?:/(${AMOUNT}))?$`)

const parseEntry = (entry: string): readonly [string, ModelPrice] | undefined => {
  const [, model, input, output, cached] = ENTRY.exec(entry) ?? []
  if (model === undefined) return undefined
  const price = { input: Number(input), output: Number(output) }
  return [model, cached === undefined ? price : { ...price, cached_input: Number(cached) }]
}

/** `gpt-4.1=2/8/0.5, *=10/40`: model=input/output/cached input, separated by commas. `undefined`: it is not that. Pure. */
export const parsePrices = (text: string): ModelPrices | undefined => {
  const entries = text.split(',').map((entry) => parseEntry(entry.trim()))
  if (!entries.every((entry) => entry !== undefined)) return undefined
  const prices = Object.fromEntries(entries)
  return Object.keys(prices).length === entries.length ? prices : undefined
}

/** What a model costs; `undefined` where nobody has said it. Pure. */
export const priceOf = (prices: ModelPrices | undefined, model: string): ModelPrice | undefined =>
  prices !== undefined && Object.hasOwn(prices, model) ? prices[model] : prices?.['*']

const MILLION = 1_000_000

/** US dollars, to a billionth: what is added up in binary fractions is shown to people. Pure. */
export const roundDollars = (dollars: number): number => Number(dollars.toFixed(9))

type Tokens = Pick<Usage, 'input_tokens' | 'output_tokens' | 'cached_input_tokens'>

/**
 * US dollars, to a billionth. Cached input is part of `input_tokens`, reasoning of `output_tokens`, as OpenAI counts; more cached input
 * than input is beside it. Pure.
 */
export const costOf = (
  { input, output, cached_input = input }: ModelPrice,
  { input_tokens, output_tokens, cached_input_tokens: cached = 0 }: Tokens,
): number => {
  const fresh = cached > input_tokens ? input_tokens : input_tokens - cached
  return roundDollars((fresh * input + cached * cached_input + output_tokens * output) / MILLION)
}
