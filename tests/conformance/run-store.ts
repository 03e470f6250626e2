import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import type { Attestation } from '#contracts/attestation.ts'
import { DEFAULT_TENANT } from '#contracts/ids.ts'
import type { NewRun, Run } from '#contracts/run.ts'
import type { RunStore } from '#store/run-store.ts'
import { acceptSuite } from './run-store-accept.ts'
import { lineSuite } from './run-store-line.ts'
import { listSuite } from './run-store-lists.ts'
import { newRunOf, type StoreWorld } from './store-world.ts'

/** Accepts, and fails the test where that is refused. */
export const accepted = async (runs: RunStore, run: NewRun): Promise<Run> => {
  const result = await runs.accept(run)
  assert.equal(result.outcome, 'accepted')
  return (result as { run: Run }).run
}

const attestationOf = ({ session_id, run_id }: Run): Attestation => ({
  session_id,
  run_id,
  engine: 'docker',
  container_id: 'c',
  image: 'mgx:latest',
  source: 'host',
  read_at: new Date(0).toISOString(),
  ok: false,
  quota: { kind: 'soft', bytes: 5 },
  egress: { allow: ['a.org'], enforced: true },
  checks: [{ name: 'pids', asked: 512, enforced: 'unlimited', ok: false }],
})

const transitions = (open: () => StoreWorld) => {
  test('transition: compare-and-set on attempt and state', async () => {
    await using store = await open().connect()
    const run = await accepted(store.runs, newRunOf())
    const patch = { state: 'starting', attempt: 1, owner: 'w1', seen_at: new Date(), container_gone: false } as const
    const expect = { attempt: 0, from: ['queued'] } as const
    assert.deepEqual(await store.runs.transition(run.run_id, expect, patch), { ...run, ...patch })
    assert.equal(await store.runs.transition(run.run_id, expect, { owner: 'w2' }), undefined, 'taken up by w1')
    assert.equal(
      await store.runs.transition(run.run_id, { attempt: 0, from: ['starting'] }, { owner: 'w2' }),
      undefined,
    )
    assert.equal(await store.runs.transition(run.run_id, { attempt: 1, from: ['queued'] }, { owner: 'w2' }), undefined)
    assert.equal(await store.runs.transition('nobody', expect, patch), undefined)
    assert.deepEqual(await store.runs.get(run.run_id), { ...run, ...patch })
    const same = await store.runs.transition(run.run_id, { attempt: 1, from: ['queued', 'starting'] }, {})
    assert.deepEqual(same, { ...run, ...patch })
  })

  test('transition: every field comes back as it was', async () => {
    await using store = await open().connect()
    const run = await accepted(store.runs, newRunOf())
    const now = new Date()
    const patch = {
      state: 'finished',
      attempt: 3,
      lock: false,
      started_at: now,
      deadline_at: now,
      finished_at: now,
      owner: 'w',
      seen_at: now,
      engine_id: 'e',
      container_id: 'c',
      container_gone: true,
      quarantine_until: now,
      restarts: 1,
      token_hash: 'h',
      attestation: attestationOf(run),
      exit: { code: null, reason: 'lost' },
      result: {
        session_id: run.session_id,
        run_id: run.run_id,
        status: 'failed',
        cause: 'container_lost',
        error: '$state of $$ROOT',
        elapsed_seconds: 1.5,
      },
    } as const
    await store.runs.transition(run.run_id, { attempt: 0, from: ['queued'] }, patch)
    await using another = await open().connect()
    assert.deepEqual(await another.runs.get(run.run_id), { ...run, ...patch })
  })

  test('transition: of many who want a run one gets it', async () => {
    await using a = await open().connect()
    await using b = await open().connect()
    const run = await accepted(a.runs, newRunOf())
    const take = (runs: RunStore, owner: string) =>
      runs.transition(run.run_id, { attempt: 0, from: ['queued'] }, { state: 'starting', attempt: 1, owner })
    const takers = ['w1', 'w2', 'w3', 'w4', 'w5', 'w6']
    const got = await Promise.all(takers.map((owner, i) => take(i % 2 === 0 ? a.runs : b.runs, owner)))
    const winners = got.flatMap((taken) => taken?.owner ?? [])
    assert.equal(winners.length, 1)
    assert.equal((await b.runs.get(run.run_id))?.owner, winners[0])
  })

  test('releaseLock clears only the lock, whatever the state', async () => {
    await using store = await open().connect()
    const run = await accepted(store.runs, newRunOf())
    await store.runs.releaseLock(run.run_id)
    await store.runs.releaseLock(run.run_id)
    await store.runs.releaseLock('nobody')
    assert.deepEqual(await store.runs.get(run.run_id), { ...run, lock: false })
    assert.equal(await store.runs.activeRun(DEFAULT_TENANT, run.session_id), undefined)
  })
}

/** The contract of the run store: what every adapter must do. */
export const runStoreSuite = (name: string, openWorld: () => Promise<StoreWorld>): void => {
  describe(`run store: ${name}`, () => {
    let world: StoreWorld
    before(async () => {
      world = await openWorld()
    })
    after(() => world[Symbol.asyncDispose]())
    acceptSuite(() => world)
    transitions(() => world)
    listSuite(() => world)
    lineSuite(() => world)
  })
}
