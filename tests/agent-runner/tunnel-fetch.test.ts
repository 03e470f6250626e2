import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { promisify } from 'node:util'
import { createTunnelFetch } from '#agent-runner/tunnel-fetch.ts'
import { parseTarget } from '#contracts/egress.ts'
import { connectTo, egressOf } from '../scheduler/egress-world.ts'
import { call, open } from '../scheduler/gateway-world.ts'
import { openHttpTarget } from '../services/http-target.ts'
import { selfSigned } from '../services/self-signed.ts'

/** A gateway as runs have it in the direct channel, whose model API is a server on this machine that no policy opens. */
const openWorld = async (t: TestContext, policy = 'none', options: Parameters<typeof openHttpTarget>[1] = {}) => {
  const api = await openHttpTarget(t, { host: '127.0.0.3', ...options })
  const model = parseTarget(api.authority)
  const world = await open(t, { connectsOnly: true, egress: egressOf(policy, { ...(model && { model }) }) })
  const one = await world.serve()
  const way = { url: `unix:${one.client.socketPath}`, token: one.token }
  return { ...world, ...one, api, way, base: `http://${api.authority}/v1` }
}

test('the runner reaches its model in every policy, and connections are used again', async (t) => {
  const ports = new Set<number>()
  const { base, way, api } = await openWorld(t, 'none', {
    answer: (message, response) => {
      ports.add(message.socket.remotePort ?? 0)
      message.pipe(response.writeHead(200, { 'x-is': message.headers.authorization }))
    },
  })
  const fetched = createTunnelFetch(base, way)
  for (const body of ['one', 'two']) {
    const init = { method: 'POST', body, headers: { authorization: 'Bearer sk-1' } }
    const response = await fetched(`${base}/chat/completions?x=1`, init)
    assert.deepEqual([await response.text(), response.headers.get('x-is')], [body, 'Bearer sk-1'])
  }
  assert.deepEqual(
    api.seen.map(({ url, headers }) => [url, headers.host]),
    Array(2).fill(['/v1/chat/completions?x=1', api.authority]),
  )
  assert.equal(ports.size, 1)
  assert.ok(!JSON.stringify(api.seen).includes(way.token), 'the token stays inside')
})

test('commands do not: what the runner may ask for, the relay does not pass on', async (t) => {
  const { client, api, run, events } = await openWorld(t, 'all')
  assert.equal((await connectTo(client, api.authority)).status, 403)
  const stored = await events.list(run.session_id, { after: 0, limit: 10 })
  assert.deepEqual(
    stored.map(({ event_type }) => event_type),
    ['egress_refused'],
  )
})

test('it leads to the model and nowhere else, and this gateway takes neither events nor model requests', async (t) => {
  const { way, client } = await openWorld(t, 'all')
  const elsewhere = await openHttpTarget(t)
  const fetched = createTunnelFetch(`http://${elsewhere.authority}/v1`, way)
  await assert.rejects(fetched(`http://${elsewhere.authority}/v1`), (error: TypeError) => {
    assert.match(
      `${error.message}: ${(error.cause as Error).message}`,
      /^fetch failed: mgx egress: .* is not in this run/,
    )
    return true
  })
  for (const path of ['/v1/openai/models', '/v1/events'])
    assert.equal((await call(client, 'GET', path)).status, 404, path)
})

test('a model that breaks off cannot be reached, as with any fetch; a gateway that is away is said to be', async (t) => {
  const { base, way, gateway } = await openWorld(t, 'none', { answer: (_, response) => response.destroy() })
  const fetched = createTunnelFetch(base, way)
  await assert.rejects(fetched(base), { name: 'TypeError', message: 'fetch failed' })
  await gateway[Symbol.asyncDispose]()
  await assert.rejects(fetched(base), { name: 'GatewayUnavailable' })
})

test('a request that is given up ends', async (t) => {
  const asked = Promise.withResolvers<void>()
  const { base, way } = await openWorld(t, 'none', { answer: () => asked.resolve() })
  const givenUp = new AbortController()
  const pending = createTunnelFetch(base, way)(base, { signal: givenUp.signal })
  void asked.promise.then(() => givenUp.abort())
  await assert.rejects(pending, { name: 'AbortError' })
})

test('TLS is spoken with the model itself, and a certificate of somebody else is none', async (t) => {
  const tls = selfSigned('127.0.0.3')
  const { way, api, dir } = await openWorld(t, 'none', { tls })
  await writeFile(join(dir, 'ca.pem'), tls.cert)
  const script = `
    const { createTunnelFetch } = await import(${JSON.stringify(import.meta.resolve('#agent-runner/tunnel-fetch.ts'))})
    const base = 'https://${api.authority}/v1'
    const said = await createTunnelFetch(base, ${JSON.stringify(way)})(base).then((r) => r.text(), (e) => e.cause.code)
    console.log(said.trim()); process.exit()`
  const run = async (env: object) => {
    const args = ['--input-type=module', '-e', script]
    return (await promisify(execFile)(process.execPath, args, { env: { ...process.env, ...env } })).stdout
  }
  assert.equal(await run({ NODE_EXTRA_CA_CERTS: join(dir, 'ca.pem') }), `hello from ${api.authority} /v1\n`)
  assert.equal(await run({}), 'DEPTH_ZERO_SELF_SIGNED_CERT\n')
})
