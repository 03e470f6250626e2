import assert from 'node:assert/strict'
import { test } from 'node:test'
import { MgxError } from '#contracts/errors.ts'
import { type Api, finish, generate, log, post, startApi, startRun } from './harness.ts'
import { blocksOf, eventsOf } from './streams.ts'

const REASON = 'connect ECONNREFUSED db-7.internal:27017'

/** What adapters throw: the contract's own error, or whatever their driver does. */
const FAILURES = [new MgxError('UNAVAILABLE', 'The database does not answer.', REASON), new Error(REASON)]

/** What a port answers with at once, before it has asked anybody. */
const STREAMS = new Set<string | symbol>(['changes', 'line'])

const failing = (failure: Error, down: () => boolean) => ({
  wrapStore: (store: Api['store']): Api['store'] => {
    const port = <T extends object>(target: T): T =>
      new Proxy(target, {
        get: (object, key) => {
          const member: unknown = Reflect.get(object, key)
          if (typeof member !== 'function') return member
          return (...args: unknown[]): unknown =>
            down() && !STREAMS.has(key) ? Promise.reject(failure) : member.apply(object, args)
        },
      })
    return { events: port(store.events), runs: port(store.runs), logs: port(store.logs) }
  },
})

for (const failure of FAILURES) {
  test(`a store that is gone (${failure.name}) is 503 on every route, and says nothing of our inside`, async (t) => {
    let down = false
    const api = await startApi(
      t,
      failing(failure, () => down),
    )
    const run = await startRun(api)
    down = true
    const session = '/api/agent/sessions/demo-1'
    const urls = [
      '',
      '/events',
      '/runs',
      `/runs/${run.run_id}`,
      `/runs/${run.run_id}/result`,
      `/runs/${run.run_id}/logs`,
    ]
    const answers = [
      await api.app.inject({ url: '/api/agent/sessions' }),
      ...(await Promise.all(urls.map((url) => api.app.inject({ url: `${session}${url}` })))),
      await api.app.inject({ url: `${session}/events`, headers: { accept: 'application/json' } }),
      await post(api, `${session}/stop`, {}),
      await generate(api),
    ]
    for (const { statusCode, body } of answers) {
      assert.equal(statusCode, 503, body)
      assert.equal(JSON.parse(body).code, 'UNAVAILABLE')
      assert.doesNotMatch(body, /db-7|27017/)
    }
    assert.ok(JSON.stringify(api.lines).includes(REASON), 'the log says why')
    assert.equal((await api.app.inject({ url: '/healthz' })).statusCode, 200)
  })
}

test('a store that comes back costs a client that follows nothing', async (t) => {
  let down = false
  const api = await startApi(t, { ...failing(new Error(REASON), () => down), pollMs: 50 })
  const run = await startRun(api)
  const response = await fetch(`${await api.url()}/api/agent/sessions/demo-1/events`)
  const blocks = blocksOf(response)
  const seen: (string | undefined)[] = []
  for await (const { id } of blocks) {
    if (id === undefined) continue
    seen.push(id)
    if (id === '2') {
      down = true
      setTimeout(async () => {
        down = false
        await log(api, run, 1)
        await finish(api, run)
      }, 300)
    }
  }
  assert.deepEqual(seen, ['1', '2', '3', '4'])
})

test('of many generates at once one is accepted, and the others are told which', async (t) => {
  const api = await startApi(t)
  const url = await api.url()
  const answers = await Promise.all(
    Array.from({ length: 12 }, async (_, n) => {
      const response = await fetch(`${url}/api/agent/generate`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ session_id: 'demo-1', workspace_id: 'ws-1', framework: 'vite', prompt: `Prompt ${n}` }),
      })
      return { status: response.status, body: (await response.json()) as { run_id: string; code?: string } }
    }),
  )
  const accepted = answers.filter(({ status }) => status === 202)
  assert.equal(accepted.length, 1)
  for (const { status, body } of answers) {
    assert.equal(body.run_id, accepted[0]?.body.run_id)
    if (status !== 202) assert.deepEqual([status, body.code], [409, 'SESSION_BUSY'])
  }
  assert.equal((await api.queue.stats()).waiting, 1)
  const run = await api.store.runs.latestRun('default', 'demo-1')
  assert.ok(run)
  await finish(api, run)
  assert.equal((await eventsOf(await fetch(`${url}/api/agent/sessions/demo-1/events`))).length, 3)
})
