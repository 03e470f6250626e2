import assert from 'node:assert/strict'
import { test } from 'node:test'
import { generate, startApi, startRun } from './harness.ts'
import { refused } from './refused.ts'

const BAD: readonly [unknown, RegExp][] = [
  ['', /empty list/],
  [[], /empty list/],
  [['all', 'none'], /"none" stands alone/],
  [['https://example.com/'], /is a URL/],
  [['registrys'], /no named set \(there are: registries, github\)/],
  [['*.*.example.com'], /wildcard/],
  [['example.com:99999'], /no port/],
  [['x'.repeat(301)], /not a host/],
  [Array.from({ length: 101 }, () => 'a.example.com'), /101 entries: a list has at most 100/],
  [7, /a text or a list of texts/],
  [[7], /a text or a list of texts/],
  [{ allow: 'all' }, /a text or a list of texts/],
]

test('an egress policy that is none is refused by what is wrong with it', async (t) => {
  const api = await startApi(t)
  for (const [egress, why] of BAD) {
    const { cause } = refused(await generate(api, { options: { egress } }), 'INVALID_REQUEST')
    assert.match(cause, /options\/egress/, cause)
    assert.match(cause, why, cause)
  }
  assert.deepEqual(await api.store.runs.listSessions('default', { limit: 10 }), [])
})

test('one that can be read is kept with the run, as it was sent', async (t) => {
  const api = await startApi(t)
  for (const [i, egress] of ['none', 'all', 'registries, *.example.com:8443', ['github', '203.0.113.7']].entries()) {
    const { run_id } = await startRun(api, { session_id: `s-${i}`, workspace_id: `w-${i}`, options: { egress } })
    assert.deepEqual((await api.store.runs.get(run_id))?.options, { egress })
  }
})

test('where nothing would keep it, a policy is refused, and the default is not', async (t) => {
  const api = await startApi(t, { keepsEgress: false })
  const error = refused(await generate(api, { options: { egress: ['registries'] } }), 'INVALID_REQUEST')
  assert.match(error.message, /cannot be enforced here: in the direct channel/)
  assert.match(error.cause, /AGENT_CHANNEL=gateway/)
  await startRun(api, { options: { egress: 'all' } })
})
