import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import type { Run } from '#contracts/run.ts'
import { acceptRun } from '#store/accept-run.ts'
import { announceRun } from '#store/announce.ts'
import { cancelRun } from '#store/cancel-run.ts'
import { beginEnding, endQueuedRun, finishRun, resultOf, settleRun } from '#store/ending.ts'
import { openSqliteStore } from '#store/sqlite.ts'
import type { Store } from '#store/store.ts'
import { delta, newRunOf, readLog, say } from '../conformance/store-world.ts'

const open = async (t: TestContext): Promise<{ store: Store; run: Run }> => {
  const store = await openSqliteStore({ file: ':memory:' })
  t.after(() => store[Symbol.asyncDispose]())
  const result = await acceptRun(store, newRunOf())
  assert(result.outcome === 'accepted')
  return { store, run: result.run }
}

const types = async (store: Store, run: Run) =>
  (await readLog(store.events, run.session_id)).map((event) =>
    event.event_type === 'run_state' ? event.data.state : event.event_type,
  )

test('announced twice is announced once', async (t) => {
  const { store, run } = await open(t)
  await announceRun(store.events, run)
  assert.deepEqual(await types(store, run), ['user_message', 'queued'])
})

test('two enders at once: one stopping, one finish, and both get the same one', async (t) => {
  const { store, run } = await open(t)
  await store.events.append(run.session_id, [delta(run, 0)])
  const enders = (['timeout', 'container_lost'] as const).map(async (cause) => {
    await beginEnding(store.events, run, cause, cause)
    return finishRun(store.events, run, 137)
  })
  const [one, two] = await Promise.all(enders)
  assert.deepEqual(one, two)
  assert.deepEqual([one?.data.cause, one?.data.error, one?.data.exit_code], ['timeout', 'timeout', 137])
  assert.deepEqual(await types(store, run), [
    'user_message',
    'queued',
    'message_delta',
    'stopping',
    'message_complete',
    'finish',
  ])
})

test('an ending of a run that has its finish changes nothing', async (t) => {
  const { store, run } = await open(t)
  await store.events.append(run.session_id, [
    say(run, 'finish', { status: 'success', cause: 'completed', synthetic: false }),
  ])
  const before = await types(store, run)
  await beginEnding(store.events, run, 'timeout')
  assert.equal((await finishRun(store.events, run)).data.cause, 'completed')
  assert.deepEqual(await types(store, run), before)
})

test('a long log is read to its end before it is closed', async (t) => {
  const { store, run } = await open(t)
  const many = Array.from({ length: 1201 }, (_, n) => delta(run, n))
  await store.events.append(run.session_id, many)
  await beginEnding(store.events, run, 'timeout')
  await finishRun(store.events, run)
  const closing = (await readLog(store.events, run.session_id)).at(-2)
  assert(closing?.event_type === 'message_complete')
  assert.equal(closing.data.deltas, 1201)
})

test('the result: seconds from the start to the finish, the exit code where there is one', async (t) => {
  const { run, store } = await open(t)
  await beginEnding(store.events, run, 'timeout', 'too long')
  const finish = await finishRun(store.events, run)
  const started_at = new Date(finish.timestamp.getTime() - 2500)
  const result = resultOf({ ...run, started_at, exit: { code: 143, reason: 'killed' } }, finish)
  assert.deepEqual(result, {
    session_id: run.session_id,
    run_id: run.run_id,
    status: 'timeout',
    cause: 'timeout',
    error: 'too long',
    elapsed_seconds: 2.5,
    container_exit_code: 143,
  })
  const ahead = resultOf({ ...run, started_at: new Date(finish.timestamp.getTime() + 9) }, finish)
  assert.equal(ahead.elapsed_seconds, 0, 'clocks may disagree')
})

test('settling needs the attempt, and happens once', async (t) => {
  const { run, store } = await open(t)
  const taken = await store.runs.transition(
    run.run_id,
    { attempt: 0, from: ['queued'] },
    { state: 'starting', attempt: 1 },
  )
  assert(taken)
  await beginEnding(store.events, taken, 'timeout')
  const finish = await finishRun(store.events, taken)
  assert.equal(await settleRun(store, run, finish), undefined, 'an older attempt')
  assert.equal((await settleRun(store, taken, finish))?.state, 'finished')
  assert.equal(await settleRun(store, taken, finish), undefined)
})

test('a queued run is ended by one of two who try', async (t) => {
  const { store, run } = await open(t)
  const both = await Promise.all([
    endQueuedRun(store, run, 'queue_timeout', 'a', 'late'),
    endQueuedRun(store, run, 'queue_timeout', 'b', 'late'),
  ])
  assert.deepEqual(both.sort(), [false, true])
  assert.equal((await store.runs.get(run.run_id))?.result?.error, 'late')
})

test('a cancel of a queued run ends it at once and frees the session', async (t) => {
  const { store, run } = await open(t)
  assert.equal(await cancelRun(store, run, 'api'), 'stopping')
  assert.deepEqual(await types(store, run), ['user_message', 'queued', 'cancel_requested', 'stopping', 'finish'])
  const { session_id, workspace_id } = run
  assert.equal((await acceptRun(store, newRunOf({ session_id, workspace_id }))).outcome, 'accepted')
})
