import assert from 'node:assert/strict'
import { test } from 'node:test'
import { GenerateAnswer } from '#contracts/http.ts'
import { body, finish, generate, post, settle, startApi, startRun } from './harness.ts'

test('202 says where the run is, and it is stored, announced and enqueued', async (t) => {
  const api = await startApi(t)
  const answer = await generate(api, { metadata: { ticket: 7 }, options: { max_steps: 3 } })
  assert.equal(answer.statusCode, 202)
  const told = GenerateAnswer.parse(answer.json())
  const { run_id } = told
  assert.deepEqual(told, {
    session_id: 'demo-1',
    run_id,
    job_id: run_id,
    status: 'queued',
    events_url: `/api/agent/sessions/demo-1/events?run_id=${run_id}`,
  })
  assert.equal(answer.headers.location, `/api/agent/sessions/demo-1/runs/${run_id}`)

  const run = await api.store.runs.get(run_id)
  assert.equal(run?.state, 'queued')
  assert.equal(run?.prompt, 'Build a page')
  assert.deepEqual(run?.options, { max_steps: 3 })
  assert.deepEqual(run?.metadata, { ticket: 7 })
  assert.equal(run && run.queue_deadline_at.getTime() - run.created_at.getTime(), 3_600_000)

  const events = await api.store.events.list('demo-1', { after: 0, limit: 10 })
  assert.deepEqual(
    events.map(({ seq, event_type }) => [seq, event_type]),
    [
      [1, 'user_message'],
      [2, 'run_state'],
    ],
  )
  assert.equal((await api.queue.stats()).waiting, 1)
  const location = await api.app.inject({ url: answer.headers.location })
  assert.equal(location.json().state, 'queued')
})

test('the same Idempotency-Key and body get the first answer, however the JSON is spelled', async (t) => {
  const api = await startApi(t)
  const key = { 'idempotency-key': 'order 66' }
  const first = await generate(api, { metadata: { a: 1, b: [{ c: 2, d: 3 }] } }, key)
  const { prompt, framework, workspace_id, session_id } = body()
  const respelled = `{ "metadata":{"b":[{"d":3,"c":2}], "a":1}, "prompt":"${prompt}", "framework":"${framework}",
    "workspace_id":"${workspace_id}", "session_id":"\\u0064emo-1" }`
  assert.equal(session_id, 'demo-1')
  const again = await post(api, '/api/agent/generate', respelled, key)
  assert.equal(again.statusCode, 202)
  assert.deepEqual(again.json(), first.json())
  assert.equal(again.headers.location, first.headers.location)
  assert.equal(await api.store.events.tail('demo-1'), 2)
})

test('the first answer comes again when the run is long over', async (t) => {
  const api = await startApi(t)
  const key = { 'idempotency-key': 'k' }
  const first = await generate(api, {}, key)
  const run = await api.store.runs.get(first.json().run_id)
  assert.ok(run)
  await settle(api, run)
  assert.deepEqual((await generate(api, {}, key)).json(), first.json())
})

test('the same Idempotency-Key with another body is 409, and names the run', async (t) => {
  const api = await startApi(t)
  const key = { 'idempotency-key': 'k' }
  const first = await generate(api, {}, key)
  const other = await generate(api, { prompt: 'Something else' }, key)
  assert.equal(other.statusCode, 409)
  assert.equal(other.json().code, 'IDEMPOTENCY_KEY_REUSED')
  assert.match(other.json().cause, new RegExp(first.json().run_id))
})

test('a second generate while the first runs is 409, names the run and leaves it alone', async (t) => {
  const api = await startApi(t)
  const run = await startRun(api)
  const second = await generate(api, { prompt: 'Another' })
  assert.equal(second.statusCode, 409)
  const { code, run_id, session_id } = second.json()
  assert.deepEqual({ code, run_id, session_id }, { code: 'SESSION_BUSY', run_id: run.run_id, session_id: 'demo-1' })
  assert.deepEqual(await api.store.runs.get(run.run_id), run)
  assert.equal(await api.store.events.tail('demo-1'), 2)
})

test('two sessions on one workspace: the second is 409 and told who works there', async (t) => {
  const api = await startApi(t)
  const run = await startRun(api)
  const second = await generate(api, { session_id: 'demo-2' })
  assert.equal(second.statusCode, 409)
  const { code, run_id, session_id } = second.json()
  assert.deepEqual({ code, run_id, session_id }, { code: 'WORKSPACE_BUSY', run_id: run.run_id, session_id: 'demo-1' })
})

test('a session with another workspace or framework is 409 and told which are its own', async (t) => {
  const api = await startApi(t)
  const run = await startRun(api)
  await settle(api, run)
  for (const patch of [{ workspace_id: 'ws-2' }, { framework: 'vite' }]) {
    const answer = await generate(api, patch)
    assert.equal(answer.statusCode, 409)
    assert.equal(answer.json().code, 'SESSION_MISMATCH')
    assert.match(answer.json().message, /ws-1.*static/)
  }
})

test('finish in the log frees the session, while the owner still tidies up', async (t) => {
  const api = await startApi(t)
  const run = await startRun(api)
  await finish(api, run)
  assert.equal((await generate(api, { prompt: 'Next' })).statusCode, 202)
})

test('a queue that is down, or hangs, does not cost the run', async (t) => {
  const broken = {
    down: () => Promise.reject(new Error('redis: ECONNREFUSED 10.0.0.7')),
    hangs: () => new Promise<void>(() => {}),
  }
  for (const [how, enqueue] of Object.entries(broken)) {
    const api = await startApi(t, { wrapQueue: (queue) => ({ ...queue, enqueue }) })
    const answer = await generate(api)
    assert.equal(answer.statusCode, 202, how)
    assert.equal((await api.store.runs.get(answer.json().run_id))?.state, 'queued')
    assert.ok(api.lines.some(({ level, msg }) => level === 40 && /queue did not take/.test(msg)))
  }
})

const DOWN = new Error('connect ECONNREFUSED db-7.internal:27017')

test('a store that is down is 503 without a word of our inside, and the log has the reason', async (t) => {
  const api = await startApi(t, {
    wrapStore: (store) => ({ ...store, runs: { ...store.runs, accept: () => Promise.reject(DOWN) } }),
  })
  const answer = await generate(api)
  assert.equal(answer.statusCode, 503)
  assert.equal(answer.json().code, 'UNAVAILABLE')
  assert.equal(answer.headers['retry-after'], '2')
  assert.doesNotMatch(answer.body, /db-7|27017/)
  assert.ok(JSON.stringify(api.lines).includes('db-7.internal'))
})

test('a crash between accept and the first event is mended by the client that tries again', async (t) => {
  let crashes = 1
  const api = await startApi(t, {
    wrapStore: (store) => ({
      ...store,
      events: {
        ...store.events,
        append: (...args) => (crashes-- > 0 ? Promise.reject(DOWN) : store.events.append(...args)),
      },
    }),
  })
  const key = { 'idempotency-key': 'k' }
  assert.equal((await generate(api, {}, key)).statusCode, 503)
  assert.equal(await api.store.events.tail('demo-1'), 0)
  const again = await generate(api, {}, key)
  assert.equal(again.statusCode, 202)
  assert.equal(await api.store.events.tail('demo-1'), 2)
  assert.equal((await api.queue.stats()).waiting, 1)
})

test('a mistake of ours is 500 without a word of our inside', async (t) => {
  const api = await startApi(t, {
    wrapStore: (store) => ({
      ...store,
      runs: { ...store.runs, accept: () => Promise.reject(new TypeError('cannot read secret of undefined')) },
    }),
  })
  const answer = await generate(api)
  assert.equal(answer.statusCode, 500)
  const { code, message, cause } = answer.json()
  assert.equal(code, 'INTERNAL')
  assert.doesNotMatch(message + cause, /secret/)
  assert.match(cause, new RegExp(String(answer.headers['x-request-id'])))
})

test('a store that hangs is 503 when the handler has had its time', async (t) => {
  const api = await startApi(t, {
    handlerTimeoutMs: 100,
    wrapStore: (store) => ({ ...store, runs: { ...store.runs, accept: () => new Promise(() => {}) } }),
  })
  const answer = await generate(api)
  assert.equal(answer.statusCode, 503)
  assert.equal(answer.json().code, 'UNAVAILABLE')
})
