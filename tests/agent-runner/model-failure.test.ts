import assert from 'node:assert/strict'
import { test } from 'node:test'
import { APICallError } from 'ai'
import { GatewayUnavailable } from '#agent-runner/gateway-fetch.ts'
import { modelFailure, retryAfterMs } from '#agent-runner/model-failure.ts'

const apiError = (statusCode: number | undefined, headers: Record<string, string> = {}, cause?: unknown) =>
  new APICallError({
    message: 'said so',
    url: 'http://x',
    requestBodyValues: {},
    responseHeaders: headers,
    ...(statusCode === undefined ? {} : { statusCode }),
    cause,
  })

test('what a status means: wait, try again, or give up', () => {
  for (const [status, code, retryable] of [
    [429, 'rate_limited', true],
    [500, 'model_unavailable', true],
    [502, 'model_unavailable', true],
    [529, 'model_unavailable', true],
    [408, 'model_unavailable', true],
    [400, 'model_refused', false],
    [401, 'model_refused', false],
    [403, 'model_refused', false],
    [404, 'model_refused', false],
    [422, 'model_refused', false],
  ] as const) {
    const failure = modelFailure(apiError(status))
    assert.deepEqual([failure.code, failure.retryable], [code, retryable], String(status))
    assert.equal(failure.message, `the model API answered ${status}: said so`)
  }
})

test('a connection that failed, a stream that broke, a gateway that is gone', () => {
  assert.equal(modelFailure(apiError(undefined)).code, 'model_unavailable')
  assert.equal(modelFailure(apiError(200)).code, 'stream_broken')
  assert.equal(modelFailure(new Error('half a frame')).code, 'stream_broken')
  assert.equal(modelFailure('a text').message, 'a text')
  const wrapped = new Error('outer', { cause: apiError(undefined, {}, new GatewayUnavailable('ENOENT')) })
  assert.deepEqual(modelFailure(wrapped), {
    code: 'gateway_unavailable',
    message: 'the gateway is not there: ENOENT',
    retryable: true,
  })
})

test('an error that is its own cause does not go on for ever', () => {
  const error: Error & { cause?: unknown } = new Error('round')
  error.cause = error
  assert.equal(modelFailure(error).code, 'stream_broken')
})

test('how long to wait: milliseconds, seconds, a date, or nothing that makes sense', () => {
  assert.equal(retryAfterMs({ 'retry-after-ms': '250', 'retry-after': '9' }), 250)
  assert.equal(retryAfterMs({ 'retry-after': '7' }), 7000)
  assert.equal(retryAfterMs({ 'retry-after': '0.5' }), 500)
  assert.equal(retryAfterMs({ 'retry-after': new Date(0).toUTCString() }), 0)
  const later = retryAfterMs({ 'retry-after': new Date(Date.now() + 60_000).toUTCString() }) ?? 0
  assert.ok(later > 50_000 && later <= 60_000)
  for (const headers of [undefined, {}, { 'retry-after': 'soon' }, { 'retry-after-ms': 'x' }])
    assert.equal(retryAfterMs(headers), undefined)
})
