import assert from 'node:assert/strict'
import { test } from 'node:test'
import { costOf, parsePrices, priceOf } from '#contracts/prices.ts'

test('prices: model=input/output/cached input, with * for all others', () => {
  const prices = parsePrices('gpt-4.1=2/8/0.5, vendor/model:free=0/0 ,*=10/40')
  assert.deepEqual(prices, {
    'gpt-4.1': { input: 2, output: 8, cached_input: 0.5 },
    'vendor/model:free': { input: 0, output: 0 },
    '*': { input: 10, output: 40 },
  })
  assert.deepEqual(priceOf(prices, 'gpt-4.1')?.output, 8)
  assert.deepEqual(priceOf(prices, 'unheard'), { input: 10, output: 40 })
  assert.equal(priceOf(parsePrices('a=1/2'), 'b'), undefined)
  assert.equal(priceOf(parsePrices('a=1/2'), 'toString'), undefined)
  assert.equal(priceOf(undefined, 'a'), undefined)
})

test('what is no price list is none', () => {
  for (const text of ['', 'a', 'a=1', 'a=1/2/3/4', 'a=-1/2', 'a=1e3/2', '=1/2', 'a=1/2,', 'a=1/2,a=1/3', 'a b=1/2'])
    assert.equal(parsePrices(text), undefined, text)
})

test('cost is of tokens: cached input at its own price, where it has one', () => {
  const usage = { input_tokens: 1_000_000, output_tokens: 500_000 }
  assert.equal(costOf({ input: 2, output: 8 }, usage), 6)
  assert.equal(costOf({ input: 2, output: 8, cached_input: 0.5 }, { ...usage, cached_input_tokens: 400_000 }), 5.4)
  assert.equal(costOf({ input: 2, output: 8 }, { ...usage, cached_input_tokens: 400_000 }), 6)
  assert.equal(
    costOf({ input: 2, output: 8, cached_input: 1 }, { ...usage, cached_input_tokens: 9_000_000 }),
    15,
    'beside it',
  )
  assert.equal(costOf({ input: 0.1, output: 0.2 }, { input_tokens: 3, output_tokens: 0 }), 3e-7)
})
