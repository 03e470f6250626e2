import assert from 'node:assert/strict'
import { Agent } from 'node:http'
import { test } from 'node:test'
import { waitFor } from '../helpers.ts'
import { type Api, generate, log, startApi, startRun } from './harness.ts'
import { call, stalledClient } from './streams.ts'

const openapi = async (api: Api) => (await api.app.inject({ url: '/openapi.json' })).json()

test('OpenAPI 3.1 names every route, with what it sends besides JSON', async (t) => {
  const api = await startApi(t)
  const { openapi: version, info, paths } = await openapi(api)
  assert.equal(version, '3.1.0')
  assert.equal(info.version, '0.0.0-test')
  const session = '/api/agent/sessions/{session_id}'
  assert.deepEqual(Object.keys(paths).sort(), [
    '/api/agent/generate',
    '/api/agent/sessions',
    session,
    `${session}/attestation`,
    `${session}/events`,
    `${session}/runs`,
    `${session}/runs/{run_id}`,
    `${session}/runs/{run_id}/logs`,
    `${session}/runs/{run_id}/result`,
    `${session}/stop`,
    '/health',
    '/healthz',
    '/readyz',
  ])
  assert.ok(paths['/api/agent/generate'].post.responses[200].content['text/event-stream'])
  assert.deepEqual(Object.keys(paths[`${session}/events`].get.responses[200].content), [
    'application/json',
    'text/event-stream',
  ])
  const { content } = paths['/api/agent/generate'].post.requestBody
  assert.deepEqual(Object.keys(content), ['application/json'])
  assert.equal(content['application/json'].schema.additionalProperties, false)
  assert.equal(typeof content['application/json'].schema.properties.session_id.pattern, 'string')
})

test('/docs is there only when it was asked for, and needs nothing from elsewhere', async (t) => {
  const without = await startApi(t)
  assert.equal((await without.app.inject({ url: '/docs/' })).statusCode, 404)
  const api = await startApi(t, { docs: true })
  const { statusCode, body, headers } = await api.app.inject({ url: '/docs/' })
  assert.equal(statusCode, 200)
  assert.match(String(headers['content-type']), /text\/html/)
  assert.match(body, /\/openapi\.json/)
  assert.doesNotMatch(body, /https?:\/\//)
  const script = await api.app.inject({ url: '/docs/js/scalar.js' })
  assert.equal(script.statusCode, 200)
  assert.ok(script.body.length > 1_000_000)
})

const ORIGIN = 'https://app.example'

const preflight = (api: Api, origin = ORIGIN) =>
  api.app.inject({
    method: 'OPTIONS',
    url: '/api/agent/generate',
    headers: {
      origin,
      'access-control-request-method': 'POST',
      'access-control-request-headers': 'content-type,idempotency-key,last-event-id',
    },
  })

test('pages of the origins that are configured may call, with the headers that they need', async (t) => {
  const api = await startApi(t, { corsOrigins: [ORIGIN] })
  const { statusCode, headers } = await preflight(api)
  assert.equal(statusCode, 204)
  assert.equal(headers['access-control-allow-origin'], ORIGIN)
  for (const name of ['Last-Event-ID', 'Idempotency-Key', 'Content-Type']) {
    assert.ok(String(headers['access-control-allow-headers']).includes(name), name)
  }
  const answer = await generate(api, {}, { origin: ORIGIN })
  assert.equal(answer.headers['access-control-allow-origin'], ORIGIN)
  assert.match(String(answer.headers['access-control-expose-headers']), /Location/)
  const refused = await generate(api, { session_id: '..' }, { origin: ORIGIN })
  assert.equal(refused.headers['access-control-allow-origin'], ORIGIN, 'a page may read why it was refused')
})

test('a stream carries the same headers as an answer', async (t) => {
  const api = await startApi(t, { corsOrigins: [ORIGIN] })
  await startRun(api)
  const leave = new AbortController()
  const url = `${await api.url()}/api/agent/sessions/demo-1/events`
  const { headers } = await fetch(url, { headers: { origin: ORIGIN }, signal: leave.signal })
  assert.equal(headers.get('access-control-allow-origin'), ORIGIN)
  assert.ok(headers.get('x-request-id'))
  leave.abort()
})

test('pages of other origins, and of any while none is configured, may not', async (t) => {
  const some = await startApi(t, { corsOrigins: [ORIGIN] })
  assert.notEqual(
    (await preflight(some, 'https://evil.example')).headers['access-control-allow-origin'],
    'https://evil.example',
  )
  const none = await startApi(t)
  assert.equal((await preflight(none)).headers['access-control-allow-origin'], undefined)
  const all = await startApi(t, { corsOrigins: ['*'] })
  assert.equal((await preflight(all, 'https://any.example')).headers['access-control-allow-origin'], '*')
})

test('one log line for each answer, with its route and without what the client said', async (t) => {
  const api = await startApi(t)
  const answer = await generate(api, { prompt: 'a very private prompt' })
  const [line, ...more] = api.lines.filter(({ msg }) => msg === 'answered')
  assert.deepEqual(more, [])
  assert.equal(line?.route, '/api/agent/generate')
  assert.equal(line?.status, 202)
  assert.equal(line?.reqId, answer.headers['x-request-id'])
  assert.doesNotMatch(JSON.stringify(api.lines), /private/)
})

test('every request has an id of its own, which the client cannot choose', async (t) => {
  const api = await startApi(t)
  const ids = new Set<unknown>()
  for (let n = 0; n < 3; n++) {
    const { headers } = await api.app.inject({ url: '/health', headers: { 'x-request-id': 'mine' } })
    ids.add(headers['x-request-id'])
  }
  assert.equal(ids.size, 3)
  assert.ok(!ids.has('mine'))
})

test('while it closes, a connection that is still open gets 503 in the one shape', async (t) => {
  const api = await startApi(t)
  const run = await startRun(api, { prompt: 'x'.repeat(250_000) })
  for (let n = 0; n < 60; n++) await log(api, run, n, 'x'.repeat(100_000))
  const url = await api.url()
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  t.after(() => agent.destroy())
  assert.equal((await call(agent, `${url}/health`)).status, 200)
  await stalledClient(t, `${url}/api/agent/sessions/demo-1/events`)
  await waitFor(() => api.follower.open() === 1)

  const closed = api.app.close()
  const { status, body } = await call(agent, `${url}/health`)
  assert.equal(status, 503)
  assert.equal(JSON.parse(body).code, 'UNAVAILABLE')
  await closed
})
