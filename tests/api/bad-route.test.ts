import assert from 'node:assert/strict'
import { connect } from 'node:net'
import { type TestContext, test } from 'node:test'
import type { ErrorBody } from '#contracts/errors.ts'
import { ID_RULE } from '#contracts/ids.ts'
import { type Api, generate, post, startApi, startRun } from './harness.ts'
import { refused } from './refused.ts'
import { rawCall } from './streams.ts'

test('a path whose session is no id is refused by every route, and says the rule', async (t) => {
  const api = await startApi(t)
  const url = await api.url()
  const ids = ['a%2Fb', '%2E%2E', 'a%20b', 'x'.repeat(64), '%E4%BC%9A', 'a%00b', 'x'.repeat(2_000)]
  for (const id of ids) {
    for (const rest of ['', '/events', '/runs', '/runs/r', '/runs/r/result', '/runs/r/logs']) {
      const { status, body: text } = await rawCall(url, `/api/agent/sessions/${id}${rest}`)
      assert.ok(refused({ statusCode: status, body: text }, 'INVALID_ID').message.includes(ID_RULE))
    }
    const { status, body: text } = await rawCall(url, `/api/agent/sessions/${id}/stop`, 'POST')
    refused({ statusCode: status, body: text }, 'INVALID_ID')
  }
})

test('dots in a path as they are never leave the API', async (t) => {
  const api = await startApi(t)
  const url = await api.url()
  for (const path of ['/api/agent/sessions/../events', '/api/agent/sessions/..%2f..%2fetc%2fpasswd/events']) {
    const { status, body: text } = await rawCall(url, path)
    refused({ statusCode: status, body: text }, 'INVALID_ID')
  }
  const { status, body: text } = await rawCall(url, '/api/agent/sessions/../../../etc/passwd')
  refused({ statusCode: status, body: text }, 'NOT_FOUND')
})

test('broken percent-encoding in a path', async (t) => {
  const api = await startApi(t)
  const { status, body: text } = await rawCall(await api.url(), '/api/agent/sessions/%E0%A4%A/events')
  refused({ statusCode: status, body: text }, 'INVALID_REQUEST')
})

const events = (api: Api, query: string, headers: Record<string, string> = {}) =>
  api.app.inject({ url: `/api/agent/sessions/demo-1/events${query}`, headers })

test('a cursor that is none', async (t) => {
  const api = await startApi(t)
  await startRun(api)
  for (const cursor of ['abc', '-1', '1.5', '1e3', '0x10', ' 1', '99999999999999999999', 'NaN']) {
    refused(await events(api, '', { 'last-event-id': cursor }), 'INVALID_CURSOR')
    refused(await events(api, `?after=${encodeURIComponent(cursor)}`), 'INVALID_CURSOR')
    refused(await events(api, '?after=1', { 'last-event-id': cursor }), 'INVALID_CURSOR')
  }
  refused(await events(api, '?after='), 'INVALID_CURSOR')
  refused(await events(api, '?after=1&after=2'), 'INVALID_CURSOR')
  refused(await api.app.inject({ url: '/api/agent/sessions?cursor=never-seen' }), 'INVALID_CURSOR')
  refused(await api.app.inject({ url: '/api/agent/sessions?cursor=a/b' }), 'INVALID_CURSOR')
  refused(await api.app.inject({ url: '/api/agent/sessions/demo-1/runs?cursor=never-seen' }), 'INVALID_CURSOR')
})

test('a page size that is none', async (t) => {
  const api = await startApi(t)
  await startRun(api)
  for (const limit of ['0', '-1', '1001', 'x', '1.5']) {
    const answer = await events(api, `?limit=${limit}`, { accept: 'application/json' })
    assert.match(refused(answer, 'INVALID_REQUEST').cause, /limit/)
  }
})

const EVERY_SESSION_ROUTE = ['', '/events', '/runs', '/runs/r', '/runs/r/result', '/runs/r/logs', '/events?run_id=r']

test('an unknown session is 404 everywhere', async (t) => {
  const api = await startApi(t)
  for (const rest of EVERY_SESSION_ROUTE) {
    for (const accept of ['*/*', 'application/json']) {
      const answer = await api.app.inject({ url: `/api/agent/sessions/nobody${rest}`, headers: { accept } })
      refused(answer, 'SESSION_NOT_FOUND')
    }
  }
  refused(await post(api, '/api/agent/sessions/nobody/stop', {}), 'SESSION_NOT_FOUND')
})

test('an unknown run, and a run of another session, are 404', async (t) => {
  const api = await startApi(t)
  await startRun(api)
  const other = await startRun(api, { session_id: 'demo-2', workspace_id: 'ws-2' })
  for (const id of ['nobody', other.run_id, 'x'.repeat(900)]) {
    for (const url of [`/runs/${id}`, `/runs/${id}/result`, `/runs/${id}/logs`, `/events?run_id=${id}`]) {
      refused(await api.app.inject({ url: `/api/agent/sessions/demo-1${url}` }), 'RUN_NOT_FOUND')
    }
  }
  refused(await post(api, '/api/agent/sessions/demo-1/stop', { run_id: other.run_id }), 'RUN_NOT_FOUND')
})

test('unknown routes, and routes with another method', async (t) => {
  const api = await startApi(t)
  for (const url of ['/', '/nothing', '/api/agent', '/api/agent/sessions/a/b/c', '/health/']) {
    refused(await api.app.inject({ url }), 'NOT_FOUND')
  }
  const wrong = async (method: 'GET' | 'DELETE' | 'PUT' | 'PATCH', url: string, allow: string) => {
    const answer = await api.app.inject({ method, url, ...(method === 'GET' ? {} : { payload: 'x' }) })
    refused(answer, 'METHOD_NOT_ALLOWED')
    assert.equal(answer.headers.allow, allow)
  }
  await wrong('GET', '/api/agent/generate', 'POST')
  await wrong('DELETE', '/api/agent/sessions/demo-1', 'GET, HEAD')
  await wrong('PUT', '/api/agent/sessions/demo-1/events', 'GET')
  await wrong('PATCH', '/health', 'GET, HEAD')
})

test('an Accept header that no answer meets', async (t) => {
  const api = await startApi(t)
  await startRun(api)
  refused(await events(api, '', { accept: 'image/png' }), 'NOT_ACCEPTABLE')
  refused(await generate(api, { session_id: 's2', workspace_id: 'w2' }, { accept: 'text/html' }), 'NOT_ACCEPTABLE')
  assert.equal(await api.store.runs.getSession('default', 's2'), undefined)
})

const speak = async (t: TestContext, url: string, text: string): Promise<string> => {
  const { hostname, port } = new URL(url)
  const socket = connect(Number(port), hostname)
  t.after(() => socket.destroy())
  socket.end(text)
  let answer = ''
  for await (const chunk of socket) answer += chunk
  return answer
}

test('what is not HTTP, and headers without end, get the one shape too', async (t) => {
  const api = await startApi(t)
  const url = await api.url()
  for (const [text, status] of [
    ['hello there\r\n\r\n', 400],
    [`GET /health HTTP/1.1\r\nhost: x\r\nx: ${'y'.repeat(40_000)}\r\n\r\n`, 431],
  ] as const) {
    const [head = '', json = ''] = (await speak(t, url, text)).split('\r\n\r\n')
    assert.ok(head.startsWith(`HTTP/1.1 ${status} `), head)
    assert.equal((JSON.parse(json) as ErrorBody).code, 'INVALID_REQUEST')
  }
})
