import assert from 'node:assert/strict'
import { createServer, type RequestListener } from 'node:http'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { gatewayAddress } from '#agent-runner/gateway-address.ts'
import { createGatewayFetch, GatewayUnavailable } from '#agent-runner/gateway-fetch.ts'
import { GATEWAY_UNAVAILABLE_HEADER } from '#contracts/gateway-wire.ts'
import { sleep, tempDir, waitFor } from '../helpers.ts'

const listen = async (t: TestContext, listener: RequestListener) => {
  const path = join(await tempDir(t), 'gw.sock')
  const server = createServer(listener)
  await new Promise<void>((resolve) => server.listen(path, resolve))
  t.after(async () => {
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
  })
  return `unix:${path}`
}

test('a request and its answer, as fetch has them, whatever host the address names', async (t) => {
  const url = await listen(t, async (request, response) => {
    let body = ''
    for await (const part of request) body += String(part)
    response.setHeader('x-two', ['a', 'b'])
    response.end(JSON.stringify([request.method, request.url, request.headers['x-own'], body]))
  })
  const response = await createGatewayFetch(url)('http://gateway/v1/openai/chat?x=1', {
    method: 'POST',
    headers: { 'x-own': '1', 'content-type': 'application/json' },
    body: '{"é":1}',
  })
  assert.deepEqual(await response.json(), ['POST', '/v1/openai/chat?x=1', '1', '{"é":1}'])
  assert.equal(response.headers.get('x-two'), 'a, b')
})

test('answers without a body are answers', async (t) => {
  const url = await listen(t, (_, response) => response.writeHead(204).end())
  const response = await createGatewayFetch(url)('http://gateway/')
  assert.deepEqual([response.status, await response.text()], [204, ''])
})

test('a stream comes as it comes, and breaks where it breaks', async (t) => {
  const url = await listen(t, (request, response) => {
    response.write('one')
    setTimeout(() => request.socket.destroy(), 50)
  })
  const response = await createGatewayFetch(url)('http://gateway/')
  const reader = response.body?.getReader()
  assert.equal(Buffer.from((await reader?.read())?.value ?? []).toString(), 'one')
  await assert.rejects(async () => reader?.read())
})

test('an abort takes the request along, before and after the answer began, with its own reason', async (t) => {
  let closed = 0
  const url = await listen(t, (request, response) => {
    response.on('close', () => {
      closed += 1
    })
    if (request.url === '/begun') response.write('x')
  })
  const controller = new AbortController()
  const waiting = createGatewayFetch(url)('http://gateway/silent', { signal: controller.signal })
  const begun = await createGatewayFetch(url)('http://gateway/begun', { signal: controller.signal })
  controller.abort(new Error('enough'))
  await assert.rejects(waiting, /enough/)
  await assert.rejects(begun.text())
  await waitFor(() => closed === 2)
})

test('an abort is heard in the middle of an answer, whatever was collected meanwhile', async (t) => {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  let closed = 0
  const url = await listen(t, (_, response) => {
    response.on('close', () => {
      closed += 1
    })
    response.write('x')
  })
  const controller = new AbortController()
  const { body } = await createGatewayFetch(url)('http://gateway/begun', { signal: controller.signal })
  const reader = body?.getReader()
  await reader?.read()
  for (let n = 0; n < 5; n++) {
    await sleep(10)
    collect()
  }
  controller.abort()
  await assert.rejects(async () => reader?.read())
  await waitFor(() => closed === 1)
})

test('nobody there, gone before an answer, or not serving us now: all the same, come again', async (t) => {
  const missing = createGatewayFetch(`unix:${join(await tempDir(t), 'none.sock')}`)
  await assert.rejects(missing('http://gateway/'), GatewayUnavailable)
  await assert.rejects(createGatewayFetch('http://127.0.0.1:1')('http://gateway/'), GatewayUnavailable)
  const gone = await listen(t, (request) => request.socket.destroy())
  await assert.rejects(createGatewayFetch(gone)('http://gateway/'), GatewayUnavailable)
  const later = await listen(t, (_, response) => {
    response.setHeader(GATEWAY_UNAVAILABLE_HEADER, 'not now')
    response.writeHead(401).end()
  })
  await assert.rejects(createGatewayFetch(later)('http://gateway/'), /the gateway is not there: not now/)
})

test('where a gateway can be', () => {
  assert.deepEqual(gatewayAddress('unix:/run/mgx/gw.sock'), { socketPath: '/run/mgx/gw.sock' })
  assert.deepEqual(gatewayAddress('http://10.0.0.1:9000'), { host: '10.0.0.1', port: 9000 })
  assert.deepEqual(gatewayAddress('http://worker'), { host: 'worker', port: 80 })
  for (const url of ['https://worker', 'unix:relative', 'nothing']) assert.throws(() => gatewayAddress(url))
})
