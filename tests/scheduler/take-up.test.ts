import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Run } from '#contracts/run.ts'
import { tokenHash } from '#scheduler/run-token.ts'
import { takeUp } from '#scheduler/take-up.ts'
import type { RunPatch } from '#store/run-store.ts'
import { newRunOf } from '../conformance/store-world.ts'
import { hangs } from '../fakes/scripted-runners.ts'
import { TIMINGS } from './scripted-worker.ts'
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
