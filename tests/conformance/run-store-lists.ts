import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { test } from 'node:test'
import { DEFAULT_TENANT, newRunId } from '#contracts/ids.ts'
import type { NewRun } from '#contracts/run.ts'
import type { RunPatch, RunStore } from '#store/run-store.ts'
import { sleep } from '../helpers.ts'
import { newRunOf, type StoreWorld } from './store-world.ts'

const runIds = (runs: readonly { run_id: string }[]) => runs.map((run) => run.run_id)

/** Accepts `count` runs of one session, one after the other; oldest first. */
const history = async (runs: RunStore, count: number): Promise<NewRun[]> => {
  const first = newRunOf()
  const all: NewRun[] = []
  for (let n = 0; n < count; n++) {
    const run = { ...newRunOf(first), run_id: n === 0 ? first.run_id : newRunId() }
    assert.equal((await runs.accept(run)).outcome, 'accepted')
    if (n < count - 1) await runs.releaseLock(run.run_id)
    all.push(run)
    // Run ids sort by the millisecond.
    await sleep(2)
  }
  return all
}

const pages = (open: () => StoreWorld) => {
  test('runs of a session: newest first, page by page', async () => {
    await using store = await open().connect()
    const all = runIds(await history(store.runs, 5)).toReversed()
    const session = (await store.runs.get(all[0] ?? ''))?.session_id ?? ''
    const page = async (limit: number, before?: string) =>
      runIds(await store.runs.listRuns(DEFAULT_TENANT, session, before === undefined ? { limit } : { limit, before }))
    assert.deepEqual(await page(2), all.slice(0, 2))
    assert.deepEqual(await page(2, all[1]), all.slice(2, 4))
    assert.deepEqual(await page(9, all[3]), all.slice(4))
    assert.deepEqual(await page(9, all[4]), [])
    assert.equal((await store.runs.latestRun(DEFAULT_TENANT, session))?.run_id, all[0])
    assert.equal((await store.runs.activeRun(DEFAULT_TENANT, session))?.run_id, all[0])
    assert.deepEqual(runIds(await store.runs.activeRuns(DEFAULT_TENANT, ['nobody', session])), [all[0]])
    assert.equal(await store.runs.latestRun('other', session), undefined)
    assert.deepEqual(await store.runs.activeRuns('other', [session]), [])
    assert.deepEqual(await store.runs.listRuns('other', session, { limit: 9 }), [])
  })

  test('the runs that hold some of many sessions, in one look', async () => {
    await using store = await open().connect()
    const made = [newRunOf(), newRunOf(), newRunOf()]
    for (const run of made) assert.equal((await store.runs.accept(run)).outcome, 'accepted')
    const [one, released, other] = made as [NewRun, NewRun, NewRun]
    await store.runs.releaseLock(released.run_id)
    const asked = [one.session_id, released.session_id, 'nobody']
    const held = await store.runs.activeRuns(DEFAULT_TENANT, asked)
    assert.deepEqual(held, [await store.runs.get(one.run_id)])
    const both = runIds(await store.runs.activeRuns(DEFAULT_TENANT, [other.session_id, one.session_id]))
    assert.deepEqual(both.sort(), [one.run_id, other.run_id].sort())
    assert.deepEqual(await store.runs.activeRuns(DEFAULT_TENANT, []), [])
  })

  test('the runs of some gateway tokens: those at work, with the token they have now', async () => {
    await using store = await open().connect()
    const hash = (n: number) => `${n}`.padEnd(64, randomUUID().replaceAll('-', ''))
    const [first, second, waiting, over] = [hash(1), hash(2), hash(3), hash(4)]
    const start = async (token_hash: string, patch: RunPatch = {}) => {
      const run = newRunOf()
      await store.runs.accept(run)
      const taken = { state: 'starting', attempt: 1, container_gone: false, token_hash, ...patch } as const
      return store.runs.transition(run.run_id, { attempt: 0, from: ['queued'] }, taken)
    }
    const run = await start(first)
    await start(waiting, { state: 'queued' })
    await start(over, { state: 'finished', container_gone: true })
    const all = [first, second, waiting, over]
    assert.deepEqual(runIds(await store.runs.ofTokens(all)), [run?.run_id])
    const [found] = await store.runs.ofTokens([first])
    const { tenant_id, session_id, workspace_id, options, token_hash } = found ?? {}
    const expected = [run?.tenant_id, run?.session_id, run?.workspace_id, run?.options, first]
    assert.deepEqual([tenant_id, session_id, workspace_id, options, token_hash], expected)
    await store.runs.transition(run?.run_id ?? '', { attempt: 1, from: ['starting'] }, { token_hash: second })
    assert.deepEqual(runIds(await store.runs.ofTokens([first])), [])
    assert.deepEqual(runIds(await store.runs.ofTokens(all)), [run?.run_id])
    assert.deepEqual(await store.runs.ofTokens([]), [])
  })

  test('sessions of a tenant: newest first, page by page, also within one millisecond', async () => {
    await using store = await open().connect()
    const tenant_id = randomUUID()
    const at = Date.now()
    const made = [0, 0, 0, 1, 2].map((ms) => newRunOf({ tenant_id, created_at: new Date(at + ms) }))
    for (const run of made) assert.equal((await store.runs.accept(run)).outcome, 'accepted')
    const all = await store.runs.listSessions(tenant_id, { limit: 9 })
    assert.deepEqual(
      all.map((session) => session.created_at.getTime() - at),
      [2, 1, 0, 0, 0],
    )
    const seen = []
    let before: string | undefined
    for (;;) {
      const page = await store.runs.listSessions(tenant_id, before === undefined ? { limit: 2 } : { limit: 2, before })
      seen.push(...page)
      before = page.at(-1)?.session_id
      if (page.length === 0) break
    }
    assert.deepEqual(seen, all)
    assert.deepEqual(await store.runs.listSessions(tenant_id, { limit: 2, before: 'nobody' }), [])
  })
}

const open = (world: () => StoreWorld) => {
  test('blockers: other runs of the session or workspace whose container may still be there', async () => {
    await using store = await world().connect()
    const runs = store.runs
    const first = newRunOf()
    await runs.accept(first)
    await runs.releaseLock(first.run_id)
    const beside = newRunOf({ workspace_id: first.workspace_id })
    await runs.accept(beside)
    assert.deepEqual(await runs.blockers(beside), [], 'no container was asked for yet')
    const take = (run: NewRun) =>
      runs.transition(
        run.run_id,
        { attempt: 0, from: ['queued'] },
        { state: 'starting', attempt: 1, container_gone: false },
      )
    await take(first)
    await take(newRunOf())
    await take(beside)
    assert.deepEqual(runIds(await runs.blockers(beside)), [first.run_id])
    assert.deepEqual(runIds(await runs.blockers(first)), [beside.run_id])
    assert.deepEqual(await runs.blockers({ ...beside, tenant_id: 'other' }), [])
    const gone = { attempt: 1, from: ['starting'] } as const
    await runs.transition(first.run_id, gone, { state: 'finished', container_gone: true })
    assert.deepEqual(await runs.blockers(beside), [])
  })

  test('unsettled: taken up and not finished, or with a container that is not gone; oldest first', async () => {
    await using store = await world().connect()
    const runs = store.runs
    const mine: string[] = []
    const end = { attempt: 0, from: ['queued'] } as const
    for (let n = 0; n < 4; n++) {
      const run = newRunOf()
      await runs.accept(run)
      mine.push(run.run_id)
      await sleep(2)
    }
    const [, owed = '', settled = '', taken = ''] = mine
    await runs.transition(owed, end, { state: 'finished', lock: false, container_gone: false })
    await runs.transition(settled, end, { state: 'finished', lock: false })
    await runs.transition(taken, end, { state: 'running', container_gone: false })
    const all = runIds(await runs.unsettled(100_000))
    assert.deepEqual(all, all.toSorted())
    assert.deepEqual(
      all.filter((id) => mine.includes(id)),
      [owed, taken],
    )
    assert.deepEqual(runIds(await runs.unsettled(2)), all.slice(0, 2))
  })

  test('engines: when a worker of it said last that it lives', async () => {
    await using store = await world().connect()
    const engine = randomUUID()
    assert.equal(await store.runs.engineSeen(engine), undefined)
    const before = Date.now()
    await store.runs.touchEngine(engine)
    const first = await store.runs.engineSeen(engine)
    assert.ok(first !== undefined && first.getTime() >= before && first.getTime() <= Date.now())
    await sleep(2)
    await store.runs.touchEngine(engine)
    assert.ok(Number(await store.runs.engineSeen(engine)) > Number(first))
  })

  test('ping', async () => {
    await using store = await world().connect()
    await store.runs.ping()
  })
}

export const listSuite = (world: () => StoreWorld): void => {
  pages(world)
  open(world)
}
