import assert from 'node:assert/strict'
import { test } from 'node:test'
import { generate, startApi, startRun } from './harness.ts'
import { refused } from './refused.ts'

const BUDGET = { max_cost_usd: 0.5 }

test('a budget is refused where the price of its model is not known', async (t) => {
  const api = await startApi(t)
  const error = refused(await generate(api, { options: BUDGET }), 'INVALID_REQUEST')
  assert.match(error.message, /the price of models is not known/)
  assert.match(error.cause, /body\/options\/max_cost_usd.*MODEL_PRICES/)
  const priced = await startApi(t, { prices: { a: { input: 1, output: 2 } } })
  const other = refused(await generate(priced, { options: { ...BUDGET, model: 'b' } }), 'INVALID_REQUEST')
  assert.match(other.message, /the price of the model "b" is not known/)
  assert.deepEqual(await priced.store.runs.listSessions('default', { limit: 10 }), [])
})

test('a request that was accepted gets its answer again, also where it would be refused now', async (t) => {
  const before = await startApi(t, { prices: { '*': { input: 1, output: 2 } } })
  const headers = { 'idempotency-key': 'k-1' }
  const first = await generate(before, { options: BUDGET }, headers)
  const now = await startApi(t, { wrapStore: () => before.store })
  const again = await generate(now, { options: BUDGET }, headers)
  assert.deepEqual([again.statusCode, again.json()], [202, first.json()])
  refused(await generate(now, { options: BUDGET }, { 'idempotency-key': 'k-2' }), 'INVALID_REQUEST')
})

test("a budget is kept with the run where the price is known: of its model, or of the workers' own", async (t) => {
  const api = await startApi(t, { prices: { a: { input: 1, output: 2 } } })
  for (const [i, options] of [BUDGET, { ...BUDGET, model: 'a' }].entries()) {
    const { run_id } = await startRun(api, { session_id: `s-${i}`, workspace_id: `w-${i}`, options })
    assert.deepEqual((await api.store.runs.get(run_id))?.options, options)
  }
})
