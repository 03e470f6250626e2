import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { test } from 'node:test'
import { DEFAULT_TENANT, newRunId } from '#contracts/ids.ts'
import { KEY_KEPT_MS } from '#store/accept-rules.ts'
import { newRunOf, type StoreWorld } from './store-world.ts'

const fresh = (open: () => StoreWorld) => {
  test('accept: the whole document, from the first moment on', async () => {
    await using store = await open().connect()
    const asked = newRunOf({ metadata: { $a: { 'b.c': [1] } }, options: { model: 'm', max_steps: undefined } })
    const result = await store.runs.accept(asked)
    const run = {
      ...asked,
      options: { model: 'm' },
      v: 1,
      turn_at: asked.created_at,
      state: 'queued',
      attempt: 0,
      lock: true,
      container_gone: true,
      restarts: 0,
    }
    assert.deepEqual(result, { outcome: 'accepted', run, newSession: true })
    assert.deepEqual(await store.runs.get(asked.run_id), run)
    assert.deepEqual(await store.runs.activeRun(DEFAULT_TENANT, asked.session_id), run)
    assert.deepEqual(await store.runs.getSession(DEFAULT_TENANT, asked.session_id), {
      session_id: asked.session_id,
      tenant_id: DEFAULT_TENANT,
      workspace_id: asked.workspace_id,
      framework: 'vite',
      created_at: asked.created_at,
      v: 1,
    })
    assert.equal(await store.runs.get('nobody'), undefined)
    assert.equal(await store.runs.getSession(DEFAULT_TENANT, 'nobody'), undefined)
    assert.equal(await store.runs.getSession('another tenant', asked.session_id), undefined)
  })

  test('accept: the next run of a session, by any process', async () => {
    await using a = await open().connect()
    await using b = await open().connect()
    const first = newRunOf()
    await a.runs.accept(first)
    await a.runs.releaseLock(first.run_id)
    for (const { runs } of [a, b, b]) {
      const next = { ...newRunOf(first), run_id: newRunId() }
      const result = await runs.accept(next)
      assert.equal(result.outcome, 'accepted')
      assert.equal(result.outcome === 'accepted' && result.newSession, false)
      await runs.releaseLock(next.run_id)
    }
  })

  test('accept: the same run again is the same answer (only the first one got lost)', async () => {
    await using a = await open().connect()
    await using b = await open().connect()
    const run = newRunOf({ idempotency_key: randomUUID(), idempotency_hash: 'h' })
    const first = await a.runs.accept(run)
    assert.ok(first.outcome === 'accepted')
    for (const { runs } of [a, b]) assert.deepEqual(await runs.accept(run), { ...first, newSession: false })
  })

  test('accept: it says that a run is stored when it is, and of no other', async () => {
    await using a = await open().connect()
    await using b = await open().connect()
    const run = newRunOf()
    const said: Promise<string | undefined>[] = []
    const look = ({ run_id }: { run_id: string }) =>
      void said.push(b.runs.get(run_id).then((found) => found && `${found.run_id} ${found.state}`))
    await a.runs.accept(run, look)
    for (const one of await Promise.all(said)) assert.equal(one, `${run.run_id} queued`)
    assert.ok(said.length <= 1)
    said.length = 0
    await a.runs.accept(run, look)
    await a.runs.accept({ ...newRunOf(run), run_id: newRunId() }, look)
    assert.deepEqual(said, [])
  })

  test('accept: many at once', async () => {
    await using store = await open().connect()
    const asked = Array.from({ length: 80 }, () => newRunOf())
    const results = await Promise.all(asked.map((run) => store.runs.accept(run)))
    assert.ok(results.every((result) => result.outcome === 'accepted' && result.newSession))
    const found = await Promise.all(asked.map((run) => store.runs.get(run.run_id)))
    assert.deepEqual(
      found.map((run) => run?.session_id),
      asked.map((run) => run.session_id),
    )
  })
}

const locks = (open: () => StoreWorld) => {
  test('accept: a session or a workspace with an active run is busy, and its run untouched', async () => {
    await using a = await open().connect()
    await using b = await open().connect()
    const first = newRunOf()
    await a.runs.accept(first)
    const holder = await a.runs.get(first.run_id)
    for (const { runs } of [a, b]) {
      const again = { ...newRunOf(first), run_id: newRunId() }
      assert.deepEqual(await runs.accept(again), { outcome: 'session_busy', holder })
      const beside = newRunOf({ workspace_id: first.workspace_id })
      assert.deepEqual(await runs.accept(beside), { outcome: 'workspace_busy', holder })
      assert.equal(await runs.get(beside.run_id), undefined)
    }
    assert.deepEqual(await b.runs.get(first.run_id), holder)
    const elsewhere = await b.runs.accept({ ...newRunOf(first), run_id: newRunId(), tenant_id: 'other' })
    assert.equal(elsewhere.outcome, 'accepted', 'names belong to a tenant')
  })

  test('accept: a session that was refused is not there, and may choose another workspace', async () => {
    await using a = await open().connect()
    await using b = await open().connect()
    const first = newRunOf()
    await a.runs.accept(first)
    const refused = newRunOf({ workspace_id: first.workspace_id })
    assert.equal((await a.runs.accept(refused)).outcome, 'workspace_busy')
    assert.equal(await a.runs.getSession(DEFAULT_TENANT, refused.session_id), undefined)
    const other = newRunOf({ session_id: refused.session_id })
    assert.equal((await b.runs.accept(other)).outcome, 'accepted')
  })

  test('accept: of many at once on one session, and on one workspace, one gets it', async () => {
    await using a = await open().connect()
    await using b = await open().connect()
    for (const of of [
      { session_id: `s-${randomUUID()}`, workspace_id: 'any' },
      { workspace_id: `w-${randomUUID()}` },
    ]) {
      const asked = Array.from({ length: 12 }, () =>
        newRunOf(of.workspace_id === 'any' ? { session_id: of.session_id ?? '' } : of),
      )
      const results = await Promise.all(asked.map((run, i) => (i % 2 === 0 ? a : b).runs.accept(run)))
      const outcomes = results.map((result) => result.outcome)
      assert.equal(outcomes.filter((outcome) => outcome === 'accepted').length, 1, outcomes.join())
    }
  })

  test('the database itself refuses a second active run of a session and of a workspace', async () => {
    await using store = await open().connect()
    const first = newRunOf()
    const result = await store.runs.accept(first)
    assert.ok(result.outcome === 'accepted')
    const sameSession = { ...result.run, run_id: newRunId(), workspace_id: randomUUID() }
    await assert.rejects(open().rawRun(sameSession), /UNIQUE|E11000/)
    const sameWorkspace = { ...result.run, run_id: newRunId(), session_id: randomUUID() }
    await assert.rejects(open().rawRun(sameWorkspace), /UNIQUE|E11000/)
    await open().rawRun({ ...sameSession, lock: false })
  })

  test('accept: a known session with another workspace or framework', async () => {
    await using a = await open().connect()
    await using b = await open().connect()
    const first = newRunOf()
    await a.runs.accept(first)
    await a.runs.releaseLock(first.run_id)
    const session = await a.runs.getSession(DEFAULT_TENANT, first.session_id)
    for (const { runs } of [b, a]) {
      const elsewhere = newRunOf({ session_id: first.session_id })
      assert.deepEqual(await runs.accept(elsewhere), { outcome: 'session_mismatch', session })
      const other = newRunOf({ ...first, run_id: newRunId(), framework: 'static' })
      assert.deepEqual(await runs.accept(other), { outcome: 'session_mismatch', session })
    }
  })
}

const keys = (open: () => StoreWorld) => {
  const keyed = () => newRunOf({ idempotency_key: randomUUID(), idempotency_hash: 'h1' })

  test('V6: a client that tries again meets its own run, not its lock', async () => {
    await using a = await open().connect()
    await using b = await open().connect()
    const first = keyed()
    const result = await a.runs.accept(first)
    assert.ok(result.outcome === 'accepted')
    for (const { runs } of [a, b]) {
      const again = { ...first, run_id: newRunId() }
      assert.deepEqual(await runs.accept(again), { outcome: 'replayed', run: result.run })
      const reused = await runs.accept({ ...again, idempotency_hash: 'h2', prompt: 'another' })
      assert.deepEqual(reused, { outcome: 'key_reused', run: result.run })
      const elsewhere = newRunOf({ ...again, idempotency_hash: 'h2', workspace_id: randomUUID() })
      assert.deepEqual(await runs.accept(elsewhere), { outcome: 'key_reused', run: result.run })
    }
  })

  test('an idempotency key stands for its run also when that is over, and for one tenant only', async () => {
    await using store = await open().connect()
    const first = keyed()
    await store.runs.accept(first)
    await store.runs.releaseLock(first.run_id)
    const again = await store.runs.accept({ ...first, run_id: newRunId() })
    assert.equal(again.outcome, 'replayed')
    const other = await store.runs.accept({ ...first, run_id: newRunId(), tenant_id: 'other' })
    assert.equal(other.outcome, 'accepted')
  })

  test('an idempotency key is kept for 24 hours', async () => {
    await using store = await open().connect()
    const first = keyed()
    await store.runs.accept(first)
    await store.runs.releaseLock(first.run_id)
    const after = (ms: number) => new Date(first.created_at.getTime() + ms)
    const before = await store.runs.accept({ ...first, run_id: newRunId(), created_at: after(KEY_KEPT_MS - 1) })
    assert.equal(before.outcome, 'replayed')
    const next = { ...first, run_id: newRunId(), created_at: after(KEY_KEPT_MS) }
    const result = await store.runs.accept(next)
    assert.equal(result.outcome, 'accepted')
    const again = await store.runs.accept({ ...next, run_id: newRunId() })
    assert.equal(again.outcome === 'replayed' && again.run.run_id, next.run_id)
  })

  test('the same key many times at once is one run', async () => {
    await using a = await open().connect()
    await using b = await open().connect()
    const first = keyed()
    const results = await Promise.all(
      Array.from({ length: 12 }, (_, i) => (i % 2 === 0 ? a : b).runs.accept({ ...first, run_id: newRunId() })),
    )
    assert.equal(results.filter((result) => result.outcome === 'accepted').length, 1)
    assert.equal(results.filter((result) => result.outcome === 'replayed').length, 11)
    assert.equal(new Set(results.map((result) => ('run' in result ? result.run.run_id : result.outcome))).size, 1)
  })
}

export const acceptSuite = (open: () => StoreWorld): void => {
  fresh(open)
  locks(open)
  keys(open)
}
