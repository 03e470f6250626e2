import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'
import { waitFor } from '../helpers.ts'
import { scrape } from '../main/scrape.ts'
import { follow } from './client.ts'
import { generate, postGenerate } from './generate.ts'
import { openStack } from './stack.ts'
import type { StackNode } from './stack-node.ts'

const opened = await openStack({ engine: 'process', own: true, env: { METRICS_PORT: '0' } })

const LIMIT = { timeout: 120_000 }

const samplesOf = ({ log }: StackNode) => {
  const url = /http:\/\/127\.0\.0\.1:\d+\/metrics/.exec(log())?.[0]
  assert.ok(url, log())
  return scrape(url)
}

const until = (node: StackNode, name: string, value: number | undefined) =>
  waitFor(async () => (await samplesOf(node)).get(name) === value, { what: `${name} to be ${value}` })

/** A run that goes on until the file `go` is in its workspace. */
const HELD = 'bash until [ -e go ]; do sleep 0.1; done\nend'

const SERVICES = ['store', 'queue']
const up = (service: string) => `mgx_service_up{service="${service}"}`

// One after the other, on the same two processes.
describe('figures of an API and a worker', { skip: 'skip' in opened ? opened.skip : false }, () => {
  if ('skip' in opened) return
  const stack = opened
  const [url] = stack.urls
  const [api, worker] = [...stack.apis, ...stack.workers] as [StackNode, StackNode]
  after(() => stack[Symbol.asyncDispose]())

  test('a run is seen while it is at work, and when it is over, by whoever did what', LIMIT, async () => {
    const run = await generate(url, { session_id: 'one', prompt: HELD })
    assert.equal((await postGenerate(url, { session_id: 'one', prompt: 'again' })).status, 409)
    const events = Array.fromAsync(follow(`${url}${run.events_url}`))
    await until(worker, 'mgx_run_start_seconds_count{path="cold"}', 1)
    await until(api, 'mgx_http_open_streams', 1)
    assert.equal((await samplesOf(worker)).get('mgx_worker_runs'), 1)
    await writeFile(join(stack.root, 'one', 'go'), '')
    assert.equal((await events).at(-1)?.event_type, 'finish')

    await until(worker, 'mgx_runs_ended_total{cause="completed"}', 1)
    await until(worker, 'mgx_worker_runs', 0)
    await until(api, 'mgx_http_open_streams', 0)
    const [ofApi, ofWorker] = [await samplesOf(api), await samplesOf(worker)]
    const answered = (status: number) =>
      `mgx_http_request_duration_seconds_count{method="POST",route="/api/agent/generate",status="${status}"}`
    for (const name of ['mgx_runs_accepted_total', 'mgx_runs_refused_total{code="SESSION_BUSY"}']) {
      assert.equal(ofApi.get(name), 1, name)
    }
    for (const status of [202, 409]) assert.equal(ofApi.get(answered(status)), 1, String(status))
    for (const name of ['mgx_run_wait_seconds_count', 'mgx_run_duration_seconds_count{status="success"}']) {
      assert.equal(ofWorker.get(name), 1, name)
    }
    for (const kind of ['events', 'model']) {
      const asked = ofWorker.get(`mgx_gateway_requests_total{kind="${kind}",status="200"}`) ?? 0
      assert.ok(asked >= 2, `${kind}: ${asked}`)
    }
    const counted = [ofApi, ofWorker].reduce((sum, samples) => sum + (samples.get('mgx_events_stored_total') ?? 0), 0)
    assert.equal(counted, await stack.db.collection('events').countDocuments())
    for (const series of [...ofApi.keys(), ...ofWorker.keys()]) assert.doesNotMatch(series, /="one"|[0-9a-f]{8}-/)
  })

  test('what waits is known while nobody works, and gone when somebody does', LIMIT, async () => {
    await worker.pause()
    await generate(url, { session_id: 'two', prompt: 'end' })
    await until(api, 'mgx_waiting_runs', 1)
    await waitFor(async () => ((await samplesOf(api)).get('mgx_oldest_waiting_run_seconds') ?? 0) > 0)
    worker.resume()
    for (const node of [api, worker]) await until(node, 'mgx_waiting_runs', 0)
    await until(worker, 'mgx_runs_ended_total{cause="completed"}', 2)
  })

  test('services that are away are seen, the line is then unknown, and both come back', LIMIT, async () => {
    await until(worker, up('engine'), 1)
    for (const node of [api, worker]) for (const service of SERVICES) await until(node, up(service), 1)
    await Promise.all([stack.redis.kill(), stack.mongo.kill()])
    for (const node of [api, worker]) {
      for (const service of SERVICES) await until(node, up(service), 0)
      await until(node, 'mgx_waiting_runs', undefined)
    }
    await Promise.all([stack.redis.restart(), stack.mongo.restart()])
    for (const node of [api, worker]) {
      for (const service of SERVICES) await until(node, up(service), 1)
      await until(node, 'mgx_waiting_runs', 0)
    }
  })
})
