import assert from 'node:assert/strict'
import { test } from 'node:test'
import { addUsage, createProgress } from '#agent-runner/progress.ts'
import { endData, lastWords, type RunEnd } from '#agent-runner/run-end.ts'
import { statusOf } from '#contracts/causes.ts'

const progress = { ...createProgress(), steps: 3, toolCalls: 2 }

test('how each end is told: agent_end, cause, exit', () => {
  const table: readonly [RunEnd, string, string, string][] = [
    [{ kind: 'completed', summary: 'Done.' }, 'completed', 'completed', 'ok'],
    [{ kind: 'max_steps' }, 'max_steps', 'max_steps', 'failed'],
    [{ kind: 'budget_exceeded', maxCostUsd: 1, costUsd: 1.5 }, 'budget_exceeded', 'budget_exceeded', 'failed'],
    [{ kind: 'failed', code: 'stalled', message: 'slow', retryable: true }, 'failed', 'agent_error', 'failed'],
    [{ kind: 'ending' }, 'cancelled', 'cancelled', 'terminated'],
    [{ kind: 'deadline', seconds: 1800 }, 'failed', 'timeout', 'failed'],
    [{ kind: 'unusable', cause: 'workspace_unavailable', message: 'no' }, 'failed', 'workspace_unavailable', 'badJob'],
  ]
  for (const [end, agent, cause, exit] of table) {
    const words = lastWords(end, progress)
    assert.deepEqual([words.agent.status, words.cause, words.exit], [agent, cause, exit])
    const { agentEnd, finish } = endData(words, progress, 5)
    assert.deepEqual([agentEnd.steps, agentEnd.tool_calls], [3, 2])
    assert.deepEqual([finish.status, finish.synthetic, finish.duration_ms], [statusOf(words.cause), false, 5])
    assert.equal(finish.error === undefined, end.kind === 'completed' || end.kind === 'ending')
  }
})

test("the user's text for a run that took too long", () => {
  assert.equal(lastWords({ kind: 'deadline', seconds: 1800 }, progress).error, 'Agent task timeout after 1800 seconds')
})

test('cost adds up to a billionth of a dollar', () => {
  const sum = createProgress()
  for (const cost_usd of [0.1, 0.2])
    addUsage(sum, { input_tokens: 1, output_tokens: 1, total_tokens: 2, cost_usd, model: 'a' })
  assert.equal(sum.usage?.cost_usd, 0.3)
})

test('usage adds up over the steps; what no model told is not made up', () => {
  const sum = createProgress()
  addUsage(sum, undefined)
  assert.equal(sum.usage, undefined)
  addUsage(sum, { input_tokens: 1, output_tokens: 2, total_tokens: 3, model: 'a' })
  addUsage(sum, { input_tokens: 10, output_tokens: 20, total_tokens: 30, cached_input_tokens: 5, model: 'b' })
  addUsage(sum, undefined)
  assert.deepEqual(sum.usage, {
    input_tokens: 11,
    output_tokens: 22,
    total_tokens: 33,
    cached_input_tokens: 5,
    model: 'b',
  })
})
