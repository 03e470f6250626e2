import assert from 'node:assert/strict'
import { test } from 'node:test'
import { eventIds, makeEvent } from '#contracts/events.ts'
import { GATEWAY_UNAVAILABLE_HEADER } from '#contracts/gateway-wire.ts'
import { newRunId } from '#contracts/ids.ts'
import { call, open, sent } from './gateway-world.ts'

for (const tcp of [false, true])
  test(`events over ${tcp ? 'TCP' : 'a unix socket'}: stored as of the run the gateway knows, listed back`, async (t) => {
    const { events, serve } = await open(t, { tcp })
    const { run, client } = await serve()
    const first = await call(client, 'POST', '/v1/events', {
      events: [sent(run, 1), sent(run, 2, { agent_name: 'a' })],
    })
    assert.deepEqual([first.status, JSON.parse(first.body)], [200, { outcome: 'stored', seqs: [1, 2], ending: false }])
    const again = await call(client, 'POST', '/v1/events', { events: [sent(run, 2), sent(run, 3)] })
    assert.deepEqual(JSON.parse(again.body).seqs, [2, 3], 'a resend is no second event')
    const log = await events.list(run.session_id, { after: 0, limit: 10 })
    assert.deepEqual(
      log.map(({ tenant_id, session_id, run_id, workspace_id, v }) => [tenant_id, session_id, run_id, workspace_id, v]),
      Array.from({ length: 3 }, () => ['default', run.session_id, run.run_id, run.workspace_id, 1]),
    )
    const page = JSON.parse((await call(client, 'GET', '/v1/events?after=1')).body)
    assert.deepEqual([page.events.map((event: { seq: number }) => event.seq), page.next_after], [[2, 3], 3])
    const end = JSON.parse((await call(client, 'GET', '/v1/events?after=3')).body)
    assert.deepEqual(end, { events: [], next_after: 3 })
  })

test('the outcomes of the log reach the runner: ending, finished', async (t) => {
  const { events, serve } = await open(t)
  const { run, client } = await serve()
  await events.append(run.session_id, [
    makeEvent(run, eventIds.cancelRequested(run.run_id), 'cancel_requested', { source: 'client' }),
  ])
  const refused = await call(client, 'POST', '/v1/events', { events: [sent(run)], unless_ending: true })
  assert.deepEqual(JSON.parse(refused.body), { outcome: 'ending' })
  const stored = await call(client, 'POST', '/v1/events', { events: [sent(run)] })
  assert.equal(JSON.parse(stored.body).ending, true)
  await events.append(run.session_id, [
    makeEvent(run, eventIds.finish(run.run_id), 'finish', { status: 'cancelled', cause: 'cancelled', synthetic: true }),
  ])
  const late = await call(client, 'POST', '/v1/events', { events: [sent(run, 2)] })
  assert.deepEqual(JSON.parse(late.body), { outcome: 'finished' })
})

test('a runner writes its own events only: types, ids and sizes are checked, and a bad batch is refused whole', async (t) => {
  const { events, serve } = await open(t)
  const { run, client } = await serve()
  const id = run.run_id
  const finish = { event_type: 'finish', _id: `${id}:finish` }
  for (const [what, event] of [
    ['another run', { ...sent(run), _id: `${newRunId()}:r:1` }],
    ['a made-up id', { ...sent(run), _id: `${id}:user_message` }],
    ['a number that is none', { ...sent(run), _id: `${id}:r:1:x` }],
    ['the id of finish', { ...sent(run), _id: `${id}:finish` }],
    ['finish under another id', sent(run, 1, { event_type: 'finish' })],
    ['user_message', sent(run, 1, { event_type: 'user_message' })],
    ['run_state', sent(run, 1, { event_type: 'run_state' })],
    ['cancel_requested', sent(run, 1, { event_type: 'cancel_requested' })],
    ['an unknown type', sent(run, 1, { event_type: 'party' })],
    ['fields of its own', sent(run, 1, { tenant_id: 'other' })],
    ['too much data', sent(run, 1, { data: { level: 'info', message: 'x'.repeat(600_000) } })],
    ['a time that is none', sent(run, 1, { timestamp: 'now' })],
    ['a cause that is none', sent(run, 1, { ...finish, data: { cause: 'luck', status: 'success', synthetic: false } })],
    [
      'a status of another cause',
      sent(run, 1, { ...finish, data: { cause: 'timeout', status: 'success', synthetic: false } }),
    ],
    [
      'a finish that says others wrote it',
      sent(run, 1, { ...finish, data: { cause: 'completed', status: 'success', synthetic: true } }),
    ],
  ] as const) {
    const answer = await call(client, 'POST', '/v1/events', { events: [sent(run, 9), event] })
    assert.deepEqual([answer.status, JSON.parse(answer.body).code], [400, 'INVALID_REQUEST'], what)
  }
  assert.equal((await call(client, 'POST', '/v1/events', 'not json')).status, 400)
  assert.equal((await call(client, 'POST', '/v1/events', { events: [] })).status, 400)
  assert.equal((await call(client, 'POST', '/v1/events', 'x'.repeat(5 * 1024 * 1024))).status, 413)
  assert.equal((await call(client, 'GET', '/v1/events?after=-1')).status, 400)
  assert.equal((await call(client, 'DELETE', '/v1/events')).status, 405)
  assert.equal((await call(client, 'GET', '/v1/elsewhere')).status, 404)
  assert.deepEqual(await events.list(run.session_id, { after: 0, limit: 10 }), [])
})

test('a store that does not answer is said to be so, in a way that the runner waits for', async (t) => {
  const down = async () => {
    throw new Error('down')
  }
  const { serve } = await open(t, { events: (log) => ({ ...log, append: down }) })
  const { run, client } = await serve()
  const answer = await call(client, 'POST', '/v1/events', { events: [sent(run)] })
  assert.equal(answer.status, 503)
  assert.notEqual(answer.headers[GATEWAY_UNAVAILABLE_HEADER], undefined)
})

test('many runs at once', async (t) => {
  const { events, serve } = await open(t)
  const runs = await Promise.all(Array.from({ length: 50 }, () => serve()))
  await Promise.all(
    runs.flatMap(({ run, client }) =>
      Array.from({ length: 5 }, (_, n) => call(client, 'POST', '/v1/events', { events: [sent(run, n)] })),
    ),
  )
  for (const { run } of runs) assert.equal((await events.list(run.session_id, { after: 0, limit: 10 })).length, 5)
})
