import assert from 'node:assert/strict'
import { createServer as createHttpServer, type RequestListener } from 'node:http'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import { type TestContext, test } from 'node:test'
import { createKeptCalls, readHead } from '#agent-runner/kept-calls.ts'
import { waitFor } from '../helpers.ts'

const HEADERS = 'host: gateway\r\nauthorization: Bearer secret\r\n'
const GET = { method: 'GET', path: '/v1/events?after=0' } as const
const never = () => new AbortController().signal

/** Callers of a server on a free port, and the connections that it has seen. */
const serve = async (t: TestContext, server: Server) => {
  const sockets: Socket[] = []
  server.on('connection', (socket) => void sockets.push(socket.on('error', () => {})))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.after(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  const { port } = server.address() as AddressInfo
  return { ask: createKeptCalls({ host: '127.0.0.1', port }, HEADERS), sockets }
}

const httpServer = (t: TestContext, listener: RequestListener) => serve(t, createHttpServer(listener))

/** A server that says these bytes to every question, in pieces. */
const sayServer = (t: TestContext, pieces: readonly string[], isLast = false) =>
  serve(
    t,
    createServer((socket) =>
      socket.on('data', async () => {
        for (const piece of pieces) await new Promise((resolve) => socket.write(piece, resolve))
        if (isLast) socket.end()
      }),
    ),
  )

test('questions one behind the other share a connection; what is asked and answered comes whole', async (t) => {
  const { ask, sockets } = await httpServer(t, async (request, response) => {
    const parts: Buffer[] = []
    for await (const part of request) parts.push(part)
    const { method, url, headers } = request
    const text = JSON.stringify({ method, url, token: headers.authorization, body: Buffer.concat(parts).toString() })
    response.writeHead(method === 'GET' ? 404 : 200, { 'content-length': Buffer.byteLength(text) })
    response.end(text)
  })
  const body = 'é'.repeat(300_000)
  const posted = await ask({ method: 'POST', path: '/v1/events', body }, never())
  assert.equal(posted.status, 200)
  assert.deepEqual(JSON.parse(posted.body), { method: 'POST', url: '/v1/events', token: 'Bearer secret', body })
  assert.equal((await ask(GET, never())).status, 404)
  assert.equal(sockets.length, 1)
})

test('questions at the same time have a connection each, and their own answer', async (t) => {
  const { ask, sockets } = await httpServer(t, (request, response) => {
    const text = request.url ?? ''
    const answer = () => response.writeHead(200, { 'content-length': text.length }).end(text)
    if (text === '/slow') setTimeout(answer, 50)
    else answer()
  })
  const paths = ['/slow', '/a', '/b']
  const answers = await Promise.all(paths.map((path) => ask({ method: 'GET', path }, never())))
  assert.deepEqual(
    answers.map(({ body }) => body),
    paths,
  )
  assert.equal(sockets.length, 3)
})

test('an answer may come in any pieces', async (t) => {
  const answer = 'HTTP/1.1 200 OK\r\nContent-Length: 4\r\nKeep-Alive: timeout=5\r\n\r\n{"a"'
  const { ask, sockets } = await sayServer(t, answer.split(''))
  assert.deepEqual(await ask(GET, never()), { status: 200, body: '{"a"' })
  assert.deepEqual(await ask(GET, never()), { status: 200, body: '{"a"' })
  assert.equal(sockets.length, 1)
})

test('a connection that the gateway gives up is not used again', async (t) => {
  for (const [head, closes] of [
    ['connection: close\r\n', false],
    ['keep-alive: timeout=1\r\n', false],
    ['', true],
  ] as const) {
    const { ask, sockets } = await sayServer(t, [`HTTP/1.1 200 OK\r\n${head}content-length: 2\r\n\r\n{}`], closes)
    await ask(GET, never())
    await waitFor(() => sockets[0]?.destroyed === true)
    assert.deepEqual(await ask(GET, never()), { status: 200, body: '{}' })
    assert.equal(sockets.length, 2)
  }
})

test('half an answer, none, and nobody there are failures, and the next question begins anew', async (t) => {
  for (const half of ['HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{}', 'HTTP/1.1 2', '']) {
    const { ask } = await sayServer(t, [half], true)
    await assert.rejects(ask(GET, never()), /closed the connection before it had answered/)
  }
  const nobody = createKeptCalls({ path: '/nowhere/gw.sock' }, HEADERS)
  await assert.rejects(nobody(GET, never()), { code: 'ENOENT' })
})

test('what does not speak as the gateway does is not believed', async (t) => {
  for (const text of [
    'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n',
    'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 2\r\n\r\n{}',
    'HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\n{}',
    'SSH-2.0-OpenSSH_9.2\r\n\r\n',
    `HTTP/1.1 200 OK\r\nx: ${'x'.repeat(20_000)}`,
  ]) {
    const { ask } = await sayServer(t, [text])
    await assert.rejects(ask(GET, never()), /no gateway/)
  }
  const { ask } = await sayServer(t, ['HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}{}'])
  await assert.rejects(ask(GET, never()), /more than it was asked/)
})

test('an abort ends a question with its reason, and its connection; one before it asks nothing', async (t) => {
  const { ask, sockets } = await httpServer(t, () => {})
  const abort = new AbortController()
  const asked = ask(GET, abort.signal)
  await waitFor(() => sockets.length === 1)
  abort.abort(new Error('enough'))
  await assert.rejects(asked, /enough/)
  await waitFor(() => sockets[0]?.destroyed === true)
  await assert.rejects(ask(GET, abort.signal), /enough/)
  assert.equal(sockets.length, 1)
})

test('readHead: the length is a field of the head and nothing else', () => {
  const head = (lines: string) => readHead(Buffer.from(`HTTP/1.1 503 No\r\n${lines}\r\n\r\n`))
  assert.equal(head('Content-Length: 7')?.length, 7)
  assert.equal(head('content-length:7\r\nx: y')?.status, 503)
  assert.throws(() => head('x-content-length: 7'))
  assert.throws(() => head('content-length: 7 7'))
  assert.equal(readHead(Buffer.from('HTTP/1.1 200 OK\r\ncontent-length: 7\r\n')), undefined)
})
