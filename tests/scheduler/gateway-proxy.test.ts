import assert from 'node:assert/strict'
import { type IncomingMessage, request } from 'node:http'
import { test } from 'node:test'
import { GATEWAY_UNAVAILABLE_HEADER } from '#contracts/gateway-wire.ts'
import { waitFor } from '../helpers.ts'
import { call, KEY, open, openUpstream } from './gateway-world.ts'

test('model requests travel with the key put in and nothing of the connection, and come back as they come', async (t) => {
  const more = Promise.withResolvers<void>()
  const upstream = await openUpstream(t, async (response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream', 'x-request-id': 'r1', 'set-cookie': 'a=b' })
    response.write('one')
    await more.promise
    response.end('two')
  })
  const { serve } = await open(t, { upstream: upstream.baseUrl })
  const { client } = await serve()
  const { promise, resolve } = Promise.withResolvers<IncomingMessage>()
  const headers = {
    authorization: `Bearer ${client.token}`,
    cookie: 'c=d',
    'x-own': '1',
    'content-type': 'application/json',
  }
  request({ ...client, method: 'POST', path: '/v1/openai/chat/completions?x=1', headers }, resolve).end('{"a":1}')
  const response = await promise
  const parts: string[] = []
  response.setEncoding('utf8').on('data', (part: string) => parts.push(part))
  await waitFor(() => parts.join('') === 'one')
  more.resolve()
  await waitFor(() => parts.join('') === 'onetwo')
  assert.deepEqual([response.headers['x-request-id'], response.headers['set-cookie']], ['r1', undefined])
  const [seen] = upstream.seen
  assert.deepEqual([seen?.method, seen?.url, seen?.body], ['POST', '/v1/chat/completions?x=1', '{"a":1}'])
  assert.deepEqual(
    [seen?.headers.authorization, seen?.headers.cookie, seen?.headers['x-own'], seen?.headers.host],
    [`Bearer ${KEY}`, undefined, '1', upstream.baseUrl.slice(7, -3)],
  )
})

test('no path leads out of the model API', async (t) => {
  const upstream = await openUpstream(t, (response) => response.end('{}'))
  const { serve } = await open(t, { upstream: upstream.baseUrl })
  const { client } = await serve()
  for (const path of [
    ...[
      '../admin',
      '..',
      '%2e%2e/admin',
      'a/../../admin',
      'a//b',
      'a/./b',
      '',
      'a%2fb',
      'a\\b',
      'http://elsewhere/x',
      '.',
    ],
  ])
    assert.equal((await call(client, 'GET', `/v1/openai/${path}`)).status, 404, path)
  assert.equal((await call(client, 'GET', '/v1/openai')).status, 404)
  assert.deepEqual(upstream.seen, [])
  assert.equal((await call(client, 'GET', '/v1/openai/models/gpt-4.1')).status, 200)
})

test('errors of the model API are passed on as they are, but for the key', async (t) => {
  const upstream = await openUpstream(t, (response) => {
    response.writeHead(429, { 'retry-after': '7', 'content-type': 'application/json' })
    response.end(`{"error":{"message":"slow down, ${KEY}"}}`)
  })
  const { serve } = await open(t, { upstream: upstream.baseUrl })
  const { client } = await serve()
  const answer = await call(client, 'POST', '/v1/openai/chat/completions', '{}')
  assert.deepEqual(
    [answer.status, answer.headers['retry-after'], answer.body],
    [429, '7', '{"error":{"message":"slow down, [redacted]"}}'],
  )
  assert.equal(answer.headers[GATEWAY_UNAVAILABLE_HEADER], undefined)
})

test('a model API that cannot be reached is a failure of the model, not of the gateway', async (t) => {
  const { serve } = await open(t)
  const { client } = await serve()
  const answer = await call(client, 'POST', '/v1/openai/chat/completions', '{}')
  assert.equal(answer.status, 502)
  assert.match(JSON.parse(answer.body).error.message, /cannot be reached: ECONNREFUSED/)
  assert.equal(answer.headers[GATEWAY_UNAVAILABLE_HEADER], undefined)
})

test('an answer that breaks off breaks off here too; a client that goes away takes the request along', async (t) => {
  let socket: { destroy(): void } | undefined
  const upstream = await openUpstream(t, (response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    response.write('one')
    socket = response.socket ?? undefined
  })
  const { serve } = await open(t, { upstream: upstream.baseUrl })
  const { client } = await serve()
  const start = async () => {
    const { promise, resolve } = Promise.withResolvers<IncomingMessage>()
    const headers = { authorization: `Bearer ${client.token}` }
    const sending = request({ ...client, method: 'POST', path: '/v1/openai/chat/completions', headers }, resolve)
    sending.on('error', () => undefined)
    sending.end('{}')
    const response = await promise
    const ended = new Promise<string>((done) => {
      response.on('end', () => done('end'))
      response.on('error', () => done('error'))
    })
    response.resume()
    return { sending, ended }
  }
  const cut = await start()
  socket?.destroy()
  assert.equal(await cut.ended, 'error')
  const gone = await start()
  const before = upstream.closed.length
  gone.sending.destroy()
  await waitFor(() => upstream.closed.length > before)
})

test('a client that goes away before the model has said anything takes the request along', async (t) => {
  const upstream = await openUpstream(t, () => undefined)
  const { serve } = await open(t, { upstream: upstream.baseUrl })
  const { client } = await serve()
  const headers = { authorization: `Bearer ${client.token}` }
  const sending = request({ ...client, method: 'POST', path: '/v1/openai/chat/completions', headers })
  sending.on('error', () => undefined)
  sending.end('{}')
  await waitFor(() => upstream.seen.length === 1)
  sending.destroy()
  await waitFor(() => upstream.closed.length === 1)
})

test('a request that is too long is refused, and the client reads so', async (t) => {
  const upstream = await openUpstream(t, (response) => response.end('{}'))
  const { serve } = await open(t, { upstream: upstream.baseUrl })
  const { client } = await serve()
  const answer = await call(client, 'POST', '/v1/openai/chat/completions', 'x'.repeat(21 * 1024 * 1024))
  assert.deepEqual([answer.status, JSON.parse(answer.body).code], [413, 'PAYLOAD_TOO_LARGE'])
  assert.deepEqual(upstream.seen, [])
})
