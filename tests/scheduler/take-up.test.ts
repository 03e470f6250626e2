import assert from 'node:assert/strict'
import { test } from 'node:test'
import { eventIds, makeEvent } from '#contracts/events.ts'
import type { Run } from '#contracts/run.ts'
import { tokenHash } from '#scheduler/run-token.ts'
import { takeUp } from '#scheduler/take-up.ts'
import { announceRun } from '#store/announce.ts'
import type { RunPatch } from '#store/run-store.ts'
import type { Store } from '#store/store.ts'
import { newRunOf } from '../conformance/store-world.ts'
import { agent } from '../fakes/scripted-agent.ts'
import { hangs } from '../fakes/scripted-runners.ts'
import { type ScriptedWorker, TIMINGS } from './scripted-worker.ts'
import { openWorld, type World } from './world.ts'

const given = async (world: World, patch: RunPatch): Promise<Run> => {
  const accepted = await world.store.runs.accept(newRunOf())
  assert(accepted.outcome === 'accepted')
  const after = await world.store.runs.transition(accepted.run.run_id, { attempt: 0, from: ['queued'] }, patch)
  assert(after)
  return after
}

const started = {
  state: 'running',
  attempt: 3,
  owner: 'other',
  started_at: new Date(1),
  deadline_at: new Date(2),
} as const

test('a queued run: owner, attempt, engine, deadline and the hash of a new token, in one change', async (t) => {
  const world = await openWorld(t, () => hangs)
  const run = await given(world, {})
  const { ctx } = world.worker()
  const taken = await takeUp(ctx, run.run_id)
  assert(taken.kind === 'taken' && taken.token)
  const { run: now } = taken
  assert.deepEqual(
    [now.state, now.attempt, now.owner, now.engine_id, now.container_gone, now.token_hash],
    ['starting', 1, ctx.owner, 'scripted', false, tokenHash(taken.token)],
  )
  assert.equal(now.deadline_at?.getTime(), (now.started_at?.getTime() ?? 0) + 1_800_000)
})

test('a run whose owner is silent: attempt and owner change, deadline, start and token stay', async (t) => {
  const world = await openWorld(t, () => hangs)
  const run = await given(world, { ...started, engine_id: 'scripted', token_hash: 'h', seen_at: new Date(0) })
  const taken = await takeUp(world.worker().ctx, run.run_id)
  assert(taken.kind === 'taken')
  assert.equal(taken.token, undefined)
  const { attempt, deadline_at, started_at, token_hash, state } = taken.run
  assert.deepEqual([attempt, deadline_at, started_at, token_hash, state], [4, new Date(2), new Date(1), 'h', 'running'])
})

const LATER: Record<string, RunPatch> = {
  'whose owner lives': { ...started, engine_id: 'scripted', seen_at: new Date() },
  'of another engine': { ...started, engine_id: 'elsewhere', seen_at: new Date(0) },
}

for (const [what, patch] of Object.entries(LATER)) {
  test(`a run ${what} is not taken up: later`, async (t) => {
    const world = await openWorld(t, () => hangs)
    const run = await given(world, patch)
    assert.deepEqual(await takeUp(world.worker().ctx, run.run_id), {
      kind: 'not',
      outcome: { kind: 'later', delayMs: TIMINGS.heartbeat },
    })
    assert.deepEqual(await world.run(run), run)
  })
}

test('of two workers that take a run up at once, one does', async (t) => {
  const world = await openWorld(t, () => hangs)
  const run = await given(world, {})
  const both = await Promise.all([1, 2].map(() => takeUp(world.worker().ctx, run.run_id)))
  assert.deepEqual(both.map(({ kind }) => kind).sort(), ['not', 'taken'])
})

test('a run that is over, and one that nobody knows, are done', async (t) => {
  const world = await openWorld(t, () => hangs)
  const run = await given(world, { ...started, state: 'finished' })
  for (const id of [run.run_id, 'unknown']) {
    assert.deepEqual(await takeUp(world.worker().ctx, id), { kind: 'not', outcome: { kind: 'done' } })
  }
})

/** Lets this worker's store answer to `slow` only once its `early` was called, and `then` has come about. */
const answersAfter = (
  worker: ScriptedWorker,
  slow: 'get' | 'transition',
  early: 'blockers' | 'marks',
  then = async () => {},
): (() => number) => {
  const { store } = worker.ctx
  const asked = Promise.withResolvers<void>()
  let calls = 0
  const noted = <T extends (...args: never[]) => Promise<unknown>>(call: T): T =>
    (async (...args: Parameters<T>) => {
      const answer = await call(...args)
      if (calls++ === 0) await then()
      asked.resolve()
      return answer
    }) as T
  const held = <T extends (...args: never[]) => Promise<unknown>>(call: T): T =>
    (async (...args: Parameters<T>) => {
      await asked.promise
      return call(...args)
    }) as T
  const wrapped: Store = {
    ...store,
    events: { ...store.events, ...(early === 'marks' && { marks: noted(store.events.marks) }) },
    runs: {
      ...store.runs,
      [slow]: held(store.runs[slow]),
      ...(early === 'blockers' && { blockers: noted(store.runs.blockers) }),
    },
  }
  Object.assign(worker.ctx, { store: wrapped })
  return () => calls
}

const accepted = async (world: World): Promise<Run> => {
  // Later than any look of the worker: nobody was before it.
  const result = await world.store.runs.accept(newRunOf({ created_at: new Date(Date.now() + 60_000) }))
  assert(result.outcome === 'accepted')
  return result.run
}

test('what is in the way of a run is asked beside its document, and once', { timeout: 60_000 }, async (t) => {
  const world = await openWorld(t, ({ events }) => agent(events))
  const worker = world.worker()
  const asked = answersAfter(worker, 'get', 'blockers')
  const run = await accepted(world)
  await worker.handle(run)
  assert.equal((await world.over(run)).data.cause, 'completed')
  assert.equal(asked(), 1)
})

test('the log is read beside the take-up; a cancel that comes right after ends the run', {
  timeout: 60_000,
}, async (t) => {
  const world = await openWorld(t, () => hangs)
  const worker = world.worker()
  const run = await accepted(world)
  await announceRun(world.store.events, run)
  const request = makeEvent(run, eventIds.cancelRequested(run.run_id), 'cancel_requested', { source: 'client' })
  answersAfter(
    worker,
    'transition',
    'marks',
    async () => void (await world.store.events.append(run.session_id, [request])),
  )
  await worker.handle(run)
  assert.equal((await world.over(run)).data.cause, 'cancelled')
})
