import assert from 'node:assert/strict'
import { test } from 'node:test'
import { apiConfig, devConfig } from '#main/config.ts'
import { onlyLine, ROOT, SERVICES, worker } from './config-helpers.ts'

test('prices are for API and workers, and have one for runs that name no model', () => {
  const prices = { 'gpt-4.1': { input: 2, output: 8 } }
  assert.deepEqual(worker({ MODEL_PRICES: 'gpt-4.1=2/8' }).worker.prices, prices)
  assert.deepEqual(apiConfig({ ...SERVICES, MODEL_PRICES: 'gpt-4.1=2/8' }).api.prices, prices)
  const dev = devConfig({ MODEL_PRICES: 'gpt-4.1=2/8' }, ROOT)
  assert.deepEqual([dev.api.prices, dev.worker.prices], [prices, prices])
  assert.deepEqual([worker({}).worker.prices, apiConfig(SERVICES).api.prices], [undefined, undefined])
  assert.match(
    onlyLine(() => worker({ MODEL_PRICES: 'other=1/2' })),
    /^MODEL_PRICES: has no price of OPENAI_MODEL=gpt-4\.1; add gpt-4\.1=/,
  )
})
