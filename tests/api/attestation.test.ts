import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Attestation } from '#contracts/attestation.ts'
import type { Run } from '#contracts/run.ts'
import { type Api, settle, startApi, startRun } from './harness.ts'

const PATH = '/api/agent/sessions/demo-1/attestation'

const attestation = (run: Run) =>
  Attestation.parse({
    session_id: run.session_id,
    run_id: run.run_id,
    engine: 'docker',
    container_id: 'c1',
    image: 'mgx:latest',
    image_id: 'sha256:1',
    source: 'host',
    read_at: new Date(0).toISOString(),
    ok: false,
    quota: { kind: 'soft', bytes: 5 },
    checks: [{ name: 'pids', asked: 512, enforced: 'unlimited', ok: false }],
  })

const get = async (api: Api, query = '') => {
  const answer = await api.app.inject({ url: `${PATH}${query}` })
  return { status: answer.statusCode, body: answer.json(), retryAfter: answer.headers['retry-after'] }
}

const store = async ({ store: { runs } }: Api, run: Run) =>
  runs.transition(run.run_id, { attempt: 0, from: ['queued'] }, { attestation: attestation(run) })

test('202 until it has been read, then what was read', async (t) => {
  const api = await startApi(t)
  const run = await startRun(api)
  assert.deepEqual(await get(api), {
    status: 202,
    body: { session_id: 'demo-1', run_id: run.run_id, state: 'queued' },
    retryAfter: '1',
  })
  await store(api, run)
  const { status, body } = await get(api)
  assert.deepEqual([status, body], [200, attestation(run)])
})

test('of the latest run, or of the one that is asked for, also when it is over', async (t) => {
  const api = await startApi(t)
  const first = await startRun(api)
  await store(api, first)
  await settle(api, first)
  assert.equal((await get(api)).body.run_id, first.run_id)
  const second = await startRun(api)
  assert.deepEqual([(await get(api)).status, (await get(api)).body.run_id], [202, second.run_id])
  assert.deepEqual((await get(api, `?run_id=${first.run_id}`)).body, attestation(first))
})

test('404 for a run that ended unseen, an unknown run and an unknown session', async (t) => {
  const api = await startApi(t)
  assert.equal((await get(api)).body.code, 'SESSION_NOT_FOUND')
  const run = await startRun(api)
  await settle(api, run)
  const unseen = await get(api)
  assert.deepEqual([unseen.status, unseen.body.code, unseen.body.run_id], [404, 'ATTESTATION_NOT_FOUND', run.run_id])
  assert.equal((await get(api, '?run_id=none')).body.code, 'RUN_NOT_FOUND')
  assert.equal((await get(api, '?run=x')).body.code, 'INVALID_REQUEST')
})
