import assert from 'node:assert/strict'
import { test } from 'node:test'
import { BODY_MAX_BYTES } from '#api/errors.ts'
import { FRAMEWORK_NAMES } from '#contracts/frameworks.ts'
import { PROMPT_MAX_BYTES } from '#contracts/http.ts'
import { ID_RULE } from '#contracts/ids.ts'
import { type Api, body, generate, post, startApi, startRun } from './harness.ts'
import { refused } from './refused.ts'

const nothingStored = async (api: Api): Promise<void> =>
  assert.deepEqual(await api.store.runs.listSessions('default', { limit: 10 }), [])

const BAD_IDS = [
  'a/b',
  '../etc',
  '..',
  'a..b',
  'a b',
  ' a',
  '',
  '.hidden',
  '-dash',
  'x'.repeat(64),
  'naïve',
  '会话',
  'a\n',
  'a\0b',
]

for (const field of ['session_id', 'workspace_id']) {
  test(`generate refuses a ${field} that is no id, and says the rule`, async (t) => {
    const api = await startApi(t)
    for (const id of BAD_IDS) {
      const error = refused(await generate(api, { [field]: id }), 'INVALID_ID')
      assert.ok(error.message.includes(ID_RULE), error.message)
      assert.ok(error.message.includes(field), error.message)
    }
    await nothingStored(api)
  })
}

test('the longest id and every allowed character are accepted', async (t) => {
  const api = await startApi(t)
  const session_id = `Az09_.-${'x'.repeat(56)}`
  assert.equal(session_id.length, 63)
  assert.equal((await startRun(api, { session_id })).session_id, session_id)
})

test('each missing field is named', async (t) => {
  const api = await startApi(t)
  for (const field of ['session_id', 'workspace_id', 'framework', 'prompt']) {
    const error = refused(await generate(api, { [field]: undefined }), 'INVALID_REQUEST')
    assert.ok(error.cause.includes(`body/${field} is missing`), error.cause)
  }
  const all = refused(await post(api, '/api/agent/generate', {}), 'INVALID_REQUEST')
  for (const field of ['session_id', 'workspace_id', 'framework', 'prompt']) assert.ok(all.cause.includes(field))
  await nothingStored(api)
})

test('an extra field and an unknown option are refused by name', async (t) => {
  const api = await startApi(t)
  assert.match(refused(await generate(api, { promt: 'x' }), 'INVALID_REQUEST').cause, /promt/)
  assert.match(refused(await generate(api, { options: { temperature: 1 } }), 'INVALID_REQUEST').cause, /temperature/)
  assert.match(refused(await generate(api, { options: { max_steps: 0 } }), 'INVALID_REQUEST').cause, /max_steps/)
  const stop = await post(api, '/api/agent/sessions/demo-1/stop', { force: true })
  assert.match(refused(stop, 'INVALID_REQUEST').cause, /force/)
  const url = '/api/agent/sessions?limt=3'
  assert.match(refused(await api.app.inject({ url }), 'INVALID_REQUEST').cause, /limt/)
  await nothingStored(api)
})

test('fields of the wrong type', async (t) => {
  const api = await startApi(t)
  for (const patch of [{ session_id: 7 }, { prompt: '' }, { prompt: ['x'] }, { metadata: 'x' }, { options: null }]) {
    refused(await generate(api, patch), 'INVALID_REQUEST')
  }
  for (const payload of ['[]', '"text"', 'null', '7']) {
    refused(await post(api, '/api/agent/generate', payload), 'INVALID_REQUEST')
  }
})

test('an unknown framework gets the list of those there are', async (t) => {
  const api = await startApi(t)
  const error = refused(await generate(api, { framework: 'rails' }), 'UNKNOWN_FRAMEWORK')
  assert.match(error.message, /rails/)
  for (const name of FRAMEWORK_NAMES) assert.ok(error.message.includes(name), name)
})

test('a prompt is measured in bytes of UTF-8, and one too many is 413 with the rule', async (t) => {
  const api = await startApi(t)
  const fits = 'é'.repeat(PROMPT_MAX_BYTES / 2)
  const over = refused(await generate(api, { prompt: `${fits}x` }), 'PAYLOAD_TOO_LARGE')
  assert.match(over.message, new RegExp(String(PROMPT_MAX_BYTES)))
  await nothingStored(api)
  assert.equal((await startRun(api, { prompt: fits })).prompt, fits)
})

test('a prompt of full length with every character escaped fits into the body', async (t) => {
  const api = await startApi(t)
  const prompt = '\u0001'.repeat(PROMPT_MAX_BYTES)
  assert.equal((await startRun(api, { prompt })).prompt, prompt)
})

test('a body over the limit is 413 with the rule', async (t) => {
  const api = await startApi(t)
  const error = refused(await generate(api, { metadata: { x: 'x'.repeat(BODY_MAX_BYTES) } }), 'PAYLOAD_TOO_LARGE')
  assert.match(error.message, new RegExp(String(BODY_MAX_BYTES)))
})

test('a body of another content type, or of none', async (t) => {
  const api = await startApi(t)
  const payload = JSON.stringify(body())
  for (const type of [
    'text/plain',
    'application/x-www-form-urlencoded',
    'application/xml',
    'multipart/form-data; boundary=x',
  ]) {
    const answer = await api.app.inject({
      method: 'POST',
      url: '/api/agent/generate',
      headers: { 'content-type': type },
      payload,
    })
    refused(answer, 'UNSUPPORTED_MEDIA_TYPE')
  }
  const bare = await fetch(`${await api.url()}/api/agent/generate`, {
    method: 'POST',
    body: new TextEncoder().encode(payload),
  })
  refused({ statusCode: bare.status, body: await bare.text() }, 'UNSUPPORTED_MEDIA_TYPE')
})

const raw = (api: Api, payload: string | Buffer) =>
  api.app.inject({
    method: 'POST',
    url: '/api/agent/generate',
    headers: { 'content-type': 'application/json' },
    payload,
  })

test('malformed JSON, poisoned JSON and bytes that are no UTF-8', async (t) => {
  const api = await startApi(t)
  for (const payload of ['{', '{"a":1,}', "{'a':1}", '{"__proto__":{}}', 'NaN']) {
    refused(await raw(api, payload), 'INVALID_JSON')
  }
  const text = JSON.stringify(body({ prompt: 'x' }))
  const latin = Buffer.from(text.replace('"x"', '"\u00e9"'), 'latin1')
  refused(await raw(api, latin), 'INVALID_JSON')
  await nothingStored(api)
})

test('an empty body counts as none', async (t) => {
  const api = await startApi(t)
  refused(await raw(api, ''), 'INVALID_REQUEST')
  await startRun(api)
  assert.equal((await post(api, '/api/agent/sessions/demo-1/stop', '')).statusCode, 202)
})

test('JSON that no store can keep as it is', async (t) => {
  const api = await startApi(t)
  const deep = (levels: number): unknown => (levels === 0 ? 1 : { a: deep(levels - 1) })
  refused(await generate(api, { metadata: { a: deep(200) } }), 'INVALID_REQUEST')
  refused(await generate(api, { metadata: { 'a\0b': 1 } }), 'INVALID_REQUEST')
  const halves = JSON.stringify(body()).replace('Build a page', '\\ud83d')
  refused(await raw(api, halves), 'INVALID_REQUEST')
  const abyss = `{"session_id":${'['.repeat(500_000)}`
  refused(await raw(api, abyss), 'INVALID_JSON')
  await nothingStored(api)
})

test('an Idempotency-Key that is none', async (t) => {
  const api = await startApi(t)
  for (const key of ['', 'x'.repeat(201), 'schlüssel', 'a\tb']) {
    const answer = await generate(api, {}, { 'idempotency-key': key })
    assert.match(refused(answer, 'INVALID_REQUEST').cause, /1 to 200 printable ASCII/)
  }
  await nothingStored(api)
})
