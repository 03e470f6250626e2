import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { test } from 'node:test'
import type { NewRun, Priority } from '#contracts/run.ts'
import type { RunPatch, RunStore } from '#store/run-store.ts'
import type { Store } from '#store/store.ts'
import { sleep } from '../helpers.ts'
import { newRunOf, type StoreWorld } from './store-world.ts'

const MINUTE = 60_000

const tenant = (): string => `t-${randomUUID()}`

/** A run that came this many milliseconds after the others. */
const waits = async (store: Store, tenant_id: string, afterMs = 0, priority?: Priority): Promise<NewRun> => {
  const run = newRunOf({ tenant_id, created_at: new Date(Date.UTC(2026, 0, 1) + afterMs), options: { priority } })
  assert.equal((await store.runs.accept(run)).outcome, 'accepted')
  // Ids are in order of their milliseconds.
  await sleep(2)
  return run
}

const take = (runs: RunStore, run: NewRun, patch: RunPatch = {}) =>
  runs.transition(
    run.run_id,
    { attempt: 0, from: ['queued'] },
    { state: 'starting', attempt: 1, engine_id: 'e', container_gone: false, ...patch },
  )

const end = (runs: RunStore, run: NewRun, patch: RunPatch = {}) =>
  runs.transition(
    run.run_id,
    { attempt: 1, from: ['starting'] },
    { state: 'finished', lock: false, container_gone: true, ...patch },
  )

const ids = (runs: readonly { readonly run_id: string }[]) => runs.map(({ run_id }) => run_id)

const wholeLine = async (runs: RunStore, of: string): Promise<string[]> => {
  const all: string[] = []
  for await (const piece of runs.line()) all.push(...ids(piece.filter(({ tenant_id }) => tenant_id === of)))
  return all
}

const order = (world: () => StoreWorld) => {
  test('line: in the order they came, a priority worth five minutes, equals by id', async () => {
    await using store = await world().connect()
    const me = tenant()
    const low = await waits(store, me, 0, 'low')
    const normal = await waits(store, me, 4 * MINUTE)
    const high = await waits(store, me, 8 * MINUTE, 'high')
    const late = await waits(store, me, 8 * MINUTE)
    const later = await waits(store, me, 9 * MINUTE)
    const twin = await waits(store, me, 9 * MINUTE)
    const twins = ids([later, twin]).toSorted()
    const expected = [...ids([high, normal, low, late]), ...twins]
    assert.deepEqual(await store.runs.firstWaiting(me, 100), expected)
    assert.deepEqual(await store.runs.firstWaiting(me, 2), expected.slice(0, 2))
    assert.deepEqual(await wholeLine(store.runs, me), expected)
    await take(store.runs, high)
    assert.deepEqual(await store.runs.firstWaiting(me, 100), expected.slice(1))
    assert.deepEqual(await store.runs.firstWaiting(tenant(), 100), [])
  })

  test('line: a long one comes whole, tenant by tenant', async () => {
    await using store = await world().connect()
    const [one, two] = [tenant(), tenant()]
    const runs = Array.from({ length: 2_500 }, (_, n) => waits(store, n % 5 === 0 ? two : one, n))
    const all = await Promise.all(runs)
    const of = (tenant_id: string) => ids(all.filter((run) => run.tenant_id === tenant_id))
    assert.deepEqual(await wholeLine(store.runs, one), of(one))
    assert.deepEqual(await wholeLine(store.runs, two), of(two))
    const seen: string[] = []
    for await (const piece of store.runs.line()) seen.push(...piece.map(({ tenant_id }) => tenant_id))
    assert.equal(seen.filter((id, n) => id !== seen[n - 1]).length, new Set(seen).size, 'no tenant comes twice')
  })

  test('waitingTenants, countWaiting and queued: who waits, how many, since when', async () => {
    await using store = await world().connect()
    const [one, two] = [tenant(), tenant()]
    const first = await waits(store, one)
    const second = await waits(store, one)
    const other = await waits(store, two)
    const mine = async () => (await store.runs.waitingTenants()).filter((id) => [one, two].includes(id)).toSorted()
    const counts = async () => {
      const all = await store.runs.countWaiting()
      return [all.get(one), all.get(two)]
    }
    assert.deepEqual(await mine(), [one, two].toSorted())
    assert.deepEqual(await counts(), [2, 1])
    const queued = ids(await store.runs.queued(100_000))
    assert.deepEqual(queued, queued.toSorted())
    assert.deepEqual(
      queued.filter((id) => ids([first, second, other]).includes(id)),
      ids([first, second, other]),
    )
    assert.equal((await store.runs.queued(2)).length, 2)
    await take(store.runs, other)
    assert.deepEqual(await mine(), [one])
    assert.deepEqual(await counts(), [2, undefined])
  })
}

const work = (world: () => StoreWorld) => {
  test('active: taken up and not finished, or with a container that may be there', async () => {
    await using store = await world().connect()
    const me = tenant()
    const [queued, taken, owed, gone] = [
      await waits(store, me),
      await waits(store, me),
      await waits(store, me),
      await waits(store, me),
    ]
    const seen_at = new Date()
    const facts = { seen_at, started_at: seen_at, permit: 1e6 + Math.floor(Math.random() * 1e9), tenant_permit: 0 }
    await take(store.runs, taken, { ...facts, memory_bytes: 5 })
    await take(store.runs, owed)
    await end(store.runs, owed, { container_gone: false })
    await take(store.runs, gone)
    await end(store.runs, gone)
    const active = (await store.runs.active()).filter(({ tenant_id }) => tenant_id === me)
    assert.deepEqual(active, [
      { run_id: taken.run_id, tenant_id: me, state: 'starting', engine_id: 'e', ...facts, memory_bytes: 5 },
      { run_id: owed.run_id, tenant_id: me, state: 'finished', engine_id: 'e' },
    ])
    assert.ok(!ids(active).includes(queued.run_id))
  })

  test('memoryHeld: what containers that may be there have taken, by engine', async () => {
    await using store = await world().connect()
    const [engine_id, other] = [randomUUID(), randomUUID()]
    assert.equal(await store.runs.memoryHeld(engine_id, 7), 0)
    const me = tenant()
    const [says, silent, elsewhere] = [await waits(store, me), await waits(store, me), await waits(store, me)]
    const [owed, gone] = [await waits(store, me), await waits(store, me)]
    const taken = { container_gone: false, memory_bytes: 100 }
    await take(store.runs, says, { ...taken, engine_id })
    await take(store.runs, silent, { container_gone: false, engine_id })
    await take(store.runs, elsewhere, { ...taken, engine_id: other })
    for (const run of [owed, gone]) await take(store.runs, run, { ...taken, engine_id })
    await end(store.runs, owed, { container_gone: false })
    await end(store.runs, gone)
    assert.equal(await store.runs.memoryHeld(engine_id, 7), 207)
    assert.equal(await store.runs.memoryHeld(other, 7), 100)
  })

  test('recent: how long the newest finished runs held their places', async () => {
    await using store = await world().connect()
    const [first, second] = [await waits(store, tenant()), await waits(store, tenant())]
    const [started_at, finished_at, seen_at] = [new Date(1_000), new Date(2_000), new Date(3_000)]
    for (const run of [first, second]) {
      await take(store.runs, run, { started_at })
      await end(store.runs, run, { finished_at, seen_at })
    }
    const newest = await store.runs.recent(2)
    assert.deepEqual(
      newest,
      [second, first].map(({ run_id }) => ({ run_id, engine_id: 'e', started_at, finished_at, seen_at })),
    )
    assert.equal((await store.runs.recent(1)).length, 1)
  })

  test('byKey: the run that a key stands for, in its tenant', async () => {
    await using store = await world().connect()
    const run = newRunOf({ idempotency_key: randomUUID(), idempotency_hash: 'h' })
    await store.runs.accept(run)
    const key = run.idempotency_key ?? ''
    assert.equal((await store.runs.byKey(run.tenant_id, key))?.run_id, run.run_id)
    assert.equal(await store.runs.byKey('other', key), undefined)
    assert.equal(await store.runs.byKey(run.tenant_id, 'unknown'), undefined)
  })
}

const permits = (world: () => StoreWorld) => {
  test('a permit is held by one run at a time, by two processes too, and free again when it is given back', async () => {
    await using a = await world().connect()
    await using b = await world().connect()
    const permit = 1e9 + Math.floor(Math.random() * 1e9)
    const [one, two] = [tenant(), tenant()]
    const runs = await Promise.all([one, one, two, two].map((of) => waits(a, of)))
    const taken = await Promise.all(runs.map((run, n) => take((n % 2 ? a : b).runs, run, { permit })))
    assert.equal(taken.filter((run) => run !== undefined).length, 1)
    const [holder] = taken.flatMap((run) => run ?? [])
    const [next] = runs.filter(({ run_id }) => run_id !== holder?.run_id)
    assert(holder && next)
    assert.equal((await a.runs.get(next.run_id))?.state, 'queued', 'a take-up without its permit changes nothing')
    assert.equal((await end(a.runs, holder, { permit: null }))?.permit, null)
    assert.equal((await take(b.runs, next, { permit }))?.permit, permit)
  })

  test("a tenant's permits are its own", async () => {
    await using store = await world().connect()
    const [one, two] = [tenant(), tenant()]
    const [first, second, other] = [await waits(store, one), await waits(store, one), await waits(store, two)]
    assert.ok(await take(store.runs, first, { tenant_permit: 0 }))
    assert.equal(await take(store.runs, second, { tenant_permit: 0 }), undefined)
    assert.ok(await take(store.runs, second, { tenant_permit: 1 }))
    assert.ok(await take(store.runs, other, { tenant_permit: 0 }))
  })
}

export const lineSuite = (world: () => StoreWorld): void => {
  order(world)
  work(world)
  permits(world)
}
