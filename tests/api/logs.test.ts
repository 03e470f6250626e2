import assert from 'node:assert/strict'
import { test } from 'node:test'
import { LOG_HEAD_BYTES, LOG_TAIL_BYTES } from '#store/run-logs.ts'
import { waitFor } from '../helpers.ts'
import { type Api, settle, startApi, startRun } from './harness.ts'
import { stalledClient } from './streams.ts'

const logs = async (api: Api, runId: string, query = '', signal?: AbortSignal) =>
  fetch(`${await api.url()}/api/agent/sessions/demo-1/runs/${runId}/logs${query}`, signal ? { signal } : {})

const bytes = (text: string) => new TextEncoder().encode(text)

test('the whole output as plain text, so far as there is one', async (t) => {
  const api = await startApi(t)
  const { run_id } = await startRun(api)
  assert.equal(await (await logs(api, run_id)).text(), '')
  await api.store.logs.append(run_id, 0, bytes('hello\n'))
  await api.store.logs.append(run_id, 6, bytes('wörld\n'))
  const response = await logs(api, run_id)
  assert.equal(response.headers.get('content-type'), 'text/plain; charset=utf-8')
  assert.equal(response.headers.get('x-content-type-options'), 'nosniff')
  assert.equal(await response.text(), 'hello\nwörld\n')
})

test('followed live until it is complete', async (t) => {
  const api = await startApi(t)
  const { run_id } = await startRun(api)
  const response = await logs(api, run_id, '?follow=1')
  assert.equal(response.status, 200)
  assert.ok(response.body)
  let text = ''
  let offset = 0
  const say = async (line: string) => {
    await api.store.logs.append(run_id, offset, bytes(line))
    offset += line.length
  }
  await say('one\n')
  for await (const chunk of response.body.pipeThrough(new TextDecoderStream())) {
    text += chunk
    if (text === 'one\n') await say('two\n')
    if (text === 'one\ntwo\n') {
      await say('three\n')
      await api.store.logs.complete(run_id)
    }
  }
  assert.equal(text, 'one\ntwo\nthree\n')
})

test('a run that never had a container has a log that ends with it', async (t) => {
  const api = await startApi(t)
  const run = await startRun(api)
  const text = logs(api, run.run_id, '?follow=1').then((response) => response.text())
  await settle(api, run)
  assert.equal(await text, '')
})

test('long output comes with head and tail, and says how much is missing between them', async (t) => {
  const api = await startApi(t)
  const { run_id } = await startRun(api)
  const piece = 256 * 1024
  const total = LOG_HEAD_BYTES + LOG_TAIL_BYTES + 16 * piece
  for (let offset = 0; offset < total; offset += piece) {
    await api.store.logs.append(run_id, offset, new Uint8Array(piece).fill(97 + ((offset / piece) % 26)))
  }
  const text = await (await logs(api, run_id)).text()
  const match = /\n\[mgx: (\d+) bytes of output were dropped here\]\n/.exec(text)
  assert.ok(match)
  const kept = text.length - match[0].length
  assert.equal(kept + Number(match[1]), total)
  assert.ok(match.index >= LOG_HEAD_BYTES, 'the head is whole')
  assert.ok(kept - match.index >= LOG_TAIL_BYTES, 'the tail is whole')
})

test('a client that leaves, or the server that closes, ends the following', async (t) => {
  const api = await startApi(t)
  const { run_id } = await startRun(api)
  let reads = 0
  const { read } = api.store.logs
  Object.assign(api.store.logs, {
    read: (...args: Parameters<typeof read>) => {
      reads++
      return read(...args)
    },
  })
  const leave = new AbortController()
  await logs(api, run_id, '?follow=1', leave.signal)
  await waitFor(() => reads > 1)
  leave.abort()
  await waitFor(async () => {
    const before = reads
    await new Promise((resolve) => setTimeout(resolve, 600))
    return reads === before
  })

  const response = await logs(api, run_id, '?follow=1')
  await api.app.close()
  assert.equal(await response.text(), '')
})

test('a client that does not read slows the reading down, and is let go when it leaves', async (t) => {
  const api = await startApi(t)
  const { run_id } = await startRun(api)
  await api.store.logs.append(run_id, 0, new Uint8Array(LOG_HEAD_BYTES + LOG_TAIL_BYTES))
  const url = `${await api.url()}/api/agent/sessions/demo-1/runs/${run_id}/logs`
  const client = await stalledClient(t, url)
  client.destroy()
  await api.app.close()
})
