import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { stat, writeFile } from 'node:fs/promises'
import type { ServerResponse } from 'node:http'
import { join } from 'node:path'
import { test } from 'node:test'
import { GATEWAY_UNAVAILABLE_HEADER } from '#contracts/gateway-wire.ts'
import { LEAVING } from '#scheduler/gateway-proxy.ts'
import { newToken } from '#scheduler/run-token.ts'
import { waitFor } from '../helpers.ts'
import { call, endRun, newRun, open, openUpstream, sent, unavailableIn } from './gateway-world.ts'

test('whoever does not know the token of a run is told to come later, and gets nothing', async (t) => {
  const { events, serve } = await open(t)
  const one = await serve()
  const two = await serve()
  for (const token of ['', 'x', two.token, one.run.token_hash ?? '']) {
    const answer = await call({ ...one.client, token }, 'POST', '/v1/events', { events: [sent(one.run)] })
    assert.equal(answer.status, 401)
    assert.equal(answer.headers[GATEWAY_UNAVAILABLE_HEADER], 'no run of this token is served here')
  }
  assert.deepEqual(await events.list(one.run.session_id, { after: 0, limit: 10 }), [])
})

test('over TCP the token finds the run; a run that is over is not found', async (t) => {
  const { serve, store } = await open(t, { tcp: true })
  const one = await serve()
  const two = await serve()
  await endRun(store.runs, one.run)
  await one.serving[Symbol.asyncDispose]()
  await waitFor(async () => (await call(one.client, 'GET', '/v1/events')).status === 401)
  assert.equal((await call(two.client, 'GET', '/v1/events')).status, 200)
})

test("disposing one run ends its own requests and nobody else's", async (t) => {
  const held: ServerResponse[] = []
  const upstream = await openUpstream(t, (response) => {
    response.writeHead(200)
    response.write('x')
    held.push(response)
  })
  const { serve } = await open(t, { upstream: upstream.baseUrl })
  const one = await serve()
  const two = await serve()
  const results = [one, two].map(({ client }) => call(client, 'POST', '/v1/openai/a', '{}'))
  await waitFor(() => held.length === 2)
  await one.serving[Symbol.asyncDispose]()
  const cut = await results[0]
  assert.equal(cut && unavailableIn(cut), LEAVING)
  assert.equal(existsSync(one.socketPath), false)
  for (const response of held) response.end('y')
  assert.equal((await results[1])?.body, 'xy')
})

test('over TCP too: a run that is over loses its model request', async (t) => {
  const upstream = await openUpstream(t, (response) => {
    response.writeHead(200)
    response.write('x')
  })
  const { serve, store } = await open(t, { upstream: upstream.baseUrl, tcp: true })
  const one = await serve()
  const result = call(one.client, 'POST', '/v1/openai/a', '{}')
  await waitFor(() => upstream.seen.length === 1)
  await endRun(store.runs, one.run)
  await one.serving[Symbol.asyncDispose]()
  assert.equal(unavailableIn(await result), LEAVING)
})

test('the socket can be opened by any user, takes the place of a stale file, and outlives an older owner', async (t) => {
  const { dir, serve } = await open(t)
  const path = join(dir, 'gw.sock')
  await writeFile(path, 'stale')
  const old = await serve(path)
  assert.equal((await stat(path)).mode & 0o777, 0o666)
  const next = await serve(path)
  assert.equal((await call(next.client, 'GET', '/v1/events')).status, 200)
  await old.serving[Symbol.asyncDispose]()
  assert.equal(
    (await call(next.client, 'GET', '/v1/events')).status,
    200,
    'the older owner left the newer socket alone',
  )
  await next.serving[Symbol.asyncDispose]()
  assert.equal(existsSync(path), false)
})

test('a socket path that is too long, and a run without a token, are refused with the reason', async (t) => {
  const { dir, gateway } = await open(t)
  const run = newRun(newToken())
  await assert.rejects(
    gateway.serve(run, join(dir, 'x'.repeat(120))),
    /more than the 107 a unix socket may have; choose a shorter WORKSPACES_ROOT/,
  )
  const { token_hash: _hash, ...bare } = run
  await assert.rejects(gateway.serve(bare, join(dir, 'a')), /has no gateway token/)
  await assert.rejects(gateway.serve(run), /needs the path of a socket/)
})
