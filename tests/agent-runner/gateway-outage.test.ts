import assert from 'node:assert/strict'
import { test } from 'node:test'
import { sleep, waitFor } from '../helpers.ts'
import { begins, calls, says } from './scripted-model.ts'
import { checkLog, openWorld } from './world.ts'

const OUTAGE_MS = 5_000

test('a gateway that is gone for five seconds in mid-run costs the run nothing: same socket, every event, no failure of the model', async (t) => {
  const slow = calls([{ name: 'bash', args: { command: 'while ! test -e go; do sleep 0.05; done; seq 1 5' } }])
  const world = await openWorld(t, { unserved: true, replies: [slow, says('Still here.')] })
  const worker = await world.serve()
  const runner = world.start()
  await waitFor(async () => (await world.of('tool_start')).length > 0)
  await worker[Symbol.asyncDispose]()
  const { writeFile } = await import('node:fs/promises')
  await writeFile(`${world.workspace}/go`, '')
  await sleep(OUTAGE_MS)
  assert.equal(runner.child.exitCode, null)
  await using _next = await world.serve()
  assert.equal((await runner.exited).code, 0, runner.stderr())
  const log = await world.log()
  checkLog(log)
  assert.equal((await world.of('finish'))[0]?.data.cause, 'completed')
  assert.deepEqual(
    (await world.of('error')).filter(({ data }) => data.code !== 'gateway_unavailable'),
    [],
  )
  assert.equal(world.model.requests.length, 2)
})

test('a runner that starts before its gateway waits for it', async (t) => {
  const world = await openWorld(t, { unserved: true, replies: [says('Hello.')] })
  const runner = world.start()
  await sleep(1_500)
  await using _worker = await world.serve()
  assert.equal((await runner.exited).code, 0)
  checkLog(await world.log())
})

test('a worker that dies in the middle of an answer: the answer is discarded and asked for again', async (t) => {
  const world = await openWorld(t, { unserved: true, replies: [begins(['Half'], 'stall'), says('Whole.')] })
  const worker = await world.serve()
  const runner = world.start()
  await waitFor(async () => (await world.of('message_delta')).length > 0)
  await worker[Symbol.asyncDispose]()
  await world.model.requests[0]?.closed
  await using _next = await world.serve()
  assert.equal((await runner.exited).code, 0, runner.stderr())
  checkLog(await world.log())
  assert.deepEqual(
    (await world.of('message_complete')).map(({ data }) => [data.content, data.discarded]),
    [
      ['Half', true],
      ['Whole.', undefined],
    ],
  )
})

test('gateways that leave in the middle of an answer, more often than a model may fail: the run goes on', async (t) => {
  const cuts = 5
  const cut = Array.from({ length: cuts }, () => begins(['Half'], 'stall'))
  const world = await openWorld(t, { unserved: true, replies: [...cut, says('Whole.')] })
  let worker = await world.serve()
  const runner = world.start()
  for (let n = 1; n <= cuts; n++) {
    await waitFor(async () => (await world.of('message_delta')).length === n)
    await worker[Symbol.asyncDispose]()
    worker = await world.serve()
  }
  await using _last = worker
  assert.equal((await runner.exited).code, 0, runner.stderr())
  checkLog(await world.log())
  assert.equal(world.model.requests.length, cuts + 1)
  assert.deepEqual(new Set((await world.of('error')).map(({ data }) => data.code)), new Set(['gateway_unavailable']))
})

test('TERM while the gateway is gone: the runner leaves in time, and others close what it could not', async (t) => {
  const world = await openWorld(t, { unserved: true, replies: [begins(['Half'], 'stall')] })
  const worker = await world.serve()
  const runner = world.start()
  await waitFor(async () => (await world.of('message_delta')).length > 0)
  await worker[Symbol.asyncDispose]()
  runner.child.kill('SIGTERM')
  assert.equal((await runner.exited).code, 143)
})
