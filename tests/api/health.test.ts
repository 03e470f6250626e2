import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Api, type ApiOptions, startApi } from './harness.ts'

const get = async (api: Api, url: string) => {
  const { statusCode, body } = await api.app.inject({ url })
  return { status: statusCode, body: JSON.parse(body) }
}

const broken = (ping: () => Promise<void>) => ({
  store: { wrapStore: (store) => ({ ...store, runs: { ...store.runs, ping } }) } satisfies ApiOptions as ApiOptions,
  queue: { wrapQueue: (queue) => ({ ...queue, ping }) } satisfies ApiOptions as ApiOptions,
})

test('alive and ready', async (t) => {
  const api = await startApi(t)
  const alive = { status: 200, body: { status: 'ok', service: 'mgx-api', version: '0.0.0-test' } }
  assert.deepEqual(await get(api, '/health'), alive)
  assert.deepEqual(await get(api, '/healthz'), alive)
  assert.deepEqual(await get(api, '/readyz'), {
    status: 200,
    body: { status: 'ok', services: { store: 'ok', queue: 'ok' } },
  })
})

for (const [how, ping] of [
  ['refuses', () => Promise.reject(new Error('connect ECONNREFUSED 10.0.0.7:6379'))],
  ['hangs', () => new Promise<void>(() => {})],
] as const) {
  for (const service of ['store', 'queue'] as const) {
    test(`readyz says that the ${service} is missing when it ${how}; the process is alive all the same`, async (t) => {
      const api = await startApi(t, broken(ping)[service])
      const { status, body } = await get(api, '/readyz')
      assert.equal(status, 503)
      assert.equal(body.code, 'UNAVAILABLE')
      assert.equal(body.status, 'unavailable')
      assert.deepEqual(body.services, { store: 'ok', queue: 'ok', [service]: 'missing' })
      assert.match(body.message, new RegExp(service))
      assert.doesNotMatch(JSON.stringify(body), /10\.0\.0\.7/)
      assert.equal((await get(api, '/healthz')).status, 200)
    })
  }
}

test('both missing', async (t) => {
  const ping = () => Promise.reject(new Error('gone'))
  const api = await startApi(t, { ...broken(ping).store, ...broken(ping).queue })
  const { body } = await get(api, '/readyz')
  assert.deepEqual(body.services, { store: 'missing', queue: 'missing' })
})
