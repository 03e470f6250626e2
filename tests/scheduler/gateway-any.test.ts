import assert from 'node:assert/strict'
import { connect } from 'node:net'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { GATEWAY_UNAVAILABLE_HEADER } from '#contracts/gateway-wire.ts'
import { LEAVING } from '#scheduler/gateway-proxy.ts'
import { newToken, tokenHash } from '#scheduler/run-token.ts'
import type { RunStore } from '#store/run-store.ts'
import { openSqliteStore } from '#store/sqlite.ts'
import { tempDir, waitFor } from '../helpers.ts'
import { call, endRun, open, openUpstream, sent, startedRun, unavailableIn } from './gateway-world.ts'

const QUICK = { look: 20, unknown: 20 }

/** Two gateways of two workers over one store, and a run that neither of them was told of. */
const twoGateways = async (t: TestContext, options: Parameters<typeof open>[1] = {}) => {
  const stack = new AsyncDisposableStack()
  t.after(() => stack.disposeAsync())
  const store = stack.use(await openSqliteStore({ file: join(await tempDir(t), 'store.db') }))
  const token = newToken()
  const run = await startedRun(store.runs, token)
  const [a, b] = [await open(t, { ...options, store, tcp: true }), await open(t, { ...options, store, tcp: true })]
  const at = ({ gateway }: typeof a, of = token) => ({ port: gateway.tcpPort ?? 0, token: of })
  return { store, token, run, a, b, at }
}

test('any gateway serves any live run; what was sent to one and again to another is stored once', async (t) => {
  const { store, run, a, b, at } = await twoGateways(t)
  const events = [sent(run, 1), sent(run, 2)]
  const [first, again] = [
    await call(at(a), 'POST', '/v1/events', { events }),
    await call(at(b), 'POST', '/v1/events', { events: [...events, sent(run, 3)] }),
  ]
  assert.deepEqual(JSON.parse(first.body).seqs, [1, 2])
  assert.deepEqual(JSON.parse(again.body).seqs, [1, 2, 3])
  assert.equal((await store.events.list(run.session_id, { after: 0, limit: 9 })).length, 3)
})

test('a run that ends elsewhere is served no longer, and its model request is told so', async (t) => {
  const upstream = await openUpstream(t, (response) => response.writeHead(200).write('x'))
  const { store, run, a, at } = await twoGateways(t, { upstream: upstream.baseUrl, timings: QUICK })
  const asked = call(at(a), 'POST', '/v1/openai/a', '{}')
  await waitFor(() => upstream.seen.length === 1)
  await endRun(store.runs, run)
  assert.equal(unavailableIn(await asked), LEAVING)
  await waitFor(() => upstream.closed.length === 1)
  assert.equal((await call(at(a), 'GET', '/v1/events')).status, 401)
})

test('a token that was replaced opens nothing, the new one does', async (t) => {
  const { store, run, a, at } = await twoGateways(t, { timings: QUICK })
  assert.equal((await call(at(a), 'GET', '/v1/events')).status, 200)
  const next = newToken()
  await store.runs.transition(run.run_id, { attempt: 1, from: ['running'] }, { token_hash: tokenHash(next) })
  await waitFor(async () => (await call(at(a), 'GET', '/v1/events')).status === 401)
  assert.equal((await call(at(a, next), 'GET', '/v1/events')).status, 200)
})

test('an owner that hands its run back cuts nothing off', async (t) => {
  const held = Promise.withResolvers<void>()
  const upstream = await openUpstream(t, async (response) => {
    response.writeHead(200).write('x')
    await held.promise
    response.end('y')
  })
  const { run, a, at } = await twoGateways(t, { upstream: upstream.baseUrl, timings: QUICK })
  const serving = await a.gateway.serve(run)
  const asked = call(at(a), 'POST', '/v1/openai/a', '{}')
  await waitFor(() => upstream.seen.length === 1)
  await serving[Symbol.asyncDispose]()
  assert.equal((await call(at(a), 'GET', '/v1/events')).status, 200)
  held.resolve()
  assert.equal((await asked).body, 'xy')
})

/** Counts what the store is asked, and refuses while `down`. */
const watched = () => {
  const asked: string[] = []
  const state = { down: false }
  const wrap = (runs: RunStore): Pick<RunStore, 'ofTokens'> => ({
    ofTokens: async (hashes) => {
      asked.push(...hashes)
      if (state.down) throw new Error('the store is away')
      return runs.ofTokens(hashes)
    },
  })
  return { asked, state, wrap }
}

test('guesses: what cannot be a token is not looked for, and what nobody has is looked for once', async (t) => {
  const { asked, wrap } = watched()
  const { a, at } = await twoGateways(t, { runs: wrap })
  for (const token of ['', 'x', 'x'.repeat(44), `${'x'.repeat(42)}!`])
    assert.equal((await call(at(a, token), 'GET', '/v1/events')).status, 401)
  assert.deepEqual(asked, [])
  const guess = newToken()
  for (let n = 0; n < 5; n++) assert.equal((await call(at(a, guess), 'GET', '/v1/events')).status, 401)
  assert.deepEqual(asked, [tokenHash(guess)])
})

test('a flood of guesses asks the store for so many at once, and the others to come later', async (t) => {
  const gate = Promise.withResolvers<void>()
  let [asking, refused] = [0, 0]
  const wrap = (runs: RunStore): Pick<RunStore, 'ofTokens'> => ({
    ofTokens: async (hashes) => {
      asking += 1
      await gate.promise
      return runs.ofTokens(hashes)
    },
  })
  const { a, at } = await twoGateways(t, { runs: wrap })
  const answers = Array.from({ length: 80 }, () => call(at(a, newToken()), 'GET', '/v1/events'))
  for (const answer of answers)
    void answer.then(({ status }) => {
      if (status === 503) refused += 1
    })
  await waitFor(() => refused === 16)
  gate.resolve()
  const statuses = (await Promise.all(answers)).map(({ status }) => status)
  assert.deepEqual([asking, statuses.filter((status) => status === 401).length], [64, 64])
})

test('while the store is away nobody new is served, who is known stays, and both are told to come again', async (t) => {
  const { state, wrap } = watched()
  const { store, a, at } = await twoGateways(t, { runs: wrap, timings: QUICK })
  assert.equal((await call(at(a), 'GET', '/v1/events')).status, 200)
  const other = newToken()
  await startedRun(store.runs, other)
  state.down = true
  const answer = await call(at(a, other), 'GET', '/v1/events')
  assert.deepEqual([answer.status, answer.headers[GATEWAY_UNAVAILABLE_HEADER] !== undefined], [503, true])
  assert.equal((await call(at(a), 'GET', '/v1/events')).status, 200)
  state.down = false
  assert.equal((await call(at(a, other), 'GET', '/v1/events')).status, 200)
})

const isRefused = async (port: number): Promise<boolean> => {
  const socket = connect(port, '127.0.0.1')
  const refused = await new Promise<boolean>((resolve) => {
    socket.once('connect', () => resolve(false))
    socket.once('error', () => resolve(true))
  })
  socket.destroy()
  return refused
}

test('a gateway that leaves answers what is in hand, says so where it cannot, and takes nothing new', async (t) => {
  const short = Promise.withResolvers<void>()
  const upstream = await openUpstream(t, async (response, { url }) => {
    response.writeHead(200).write('x')
    if (url.endsWith('/long')) return
    await short.promise
    response.end('y')
  })
  const { a, b, at } = await twoGateways(t, { upstream: upstream.baseUrl, timings: { drain: 500 } })
  const [one, two] = ['short', 'long'].map((name) => call(at(a), 'POST', `/v1/openai/${name}`, '{}'))
  await waitFor(() => upstream.seen.length === 2)
  const left = a.gateway[Symbol.asyncDispose]()
  await waitFor(() => isRefused(at(a).port))
  short.resolve()
  assert.equal((await one)?.body, 'xy')
  const cut = await two
  assert.deepEqual([cut?.body, cut?.trailers[GATEWAY_UNAVAILABLE_HEADER]], ['x', LEAVING])
  await left
  assert.equal((await call(at(b), 'GET', '/v1/events')).status, 200)
})
