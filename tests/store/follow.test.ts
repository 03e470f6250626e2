import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { RunRef } from '#contracts/events.ts'
import type { EventLog } from '#store/event-log.ts'
import { createFollower } from '#store/follow.ts'
import { openSqliteStore } from '#store/sqlite.ts'
import { delta, newRef, nextRun, shuffler } from '../conformance/store-world.ts'
import { sleep, waitFor } from '../helpers.ts'
import { NO_POLL, never, range, readTo, seqs, words } from './following.ts'
import { createScriptedLog } from './scripted-log.ts'

describe('follow: on SQLite', { timeout: 60_000 }, () => {
  test('history, then live, without gap or double, from wherever one starts', async () => {
    await using store = await openSqliteStore({ file: ':memory:' })
    await using follower = createFollower(store.events)
    const ref = newRef()
    const append = (log: EventLog, from: number, to: number) => log.append(ref.session_id, words(ref, from, to))
    await append(store.events, 0, 450)
    const readers = [0, 3, 200, 449, 450].map(async (after) => {
      const got = await readTo(follower.follow(ref.session_id, { after, signal: never() }), 900)
      assert.deepEqual(seqs(got), range(after + 1, 900))
    })
    for (let n = 450; n < 900; n += 3) {
      await append(store.events, n, n + 3)
      if (n % 30 === 0) {
        await sleep(1)
        const after = n / 2
        const late = readTo(follower.follow(ref.session_id, { after, signal: never() }), 900)
        readers.push(late.then((got) => assert.deepEqual(seqs(got), range(after + 1, 900))))
      }
    }
    await Promise.all(readers)
    assert.equal(follower.open(), 0)
    const all = await store.events.list(ref.session_id, { after: 0, limit: 1000 })
    assert.deepEqual(await readTo(follower.follow(ref.session_id, { after: 0, signal: never() }), 900), all)
  })

  test('one run only, also when others follow it', async () => {
    await using store = await openSqliteStore({ file: ':memory:' })
    await using follower = createFollower(store.events)
    const one = newRef()
    const two = nextRun(one)
    await store.events.append(one.session_id, words(one, 0, 150))
    await store.events.append(two.session_id, words(two, 0, 150))
    const follow = (ref: RunRef, after: number) =>
      follower.follow(ref.session_id, { after, runId: ref.run_id, signal: never() })
    const first = readTo(follow(one, 10), 302)
    const second = readTo(follow(two, 0), 304)
    await sleep(20)
    await store.events.append(two.session_id, [delta(two, 150)])
    await store.events.append(one.session_id, [delta(one, 150)])
    await store.events.append(one.session_id, [delta(one, 151)])
    await store.events.append(two.session_id, [delta(two, 151)])
    assert.deepEqual(seqs(await first), [...range(11, 150), 302])
    assert.deepEqual(seqs(await second), [...range(151, 300), 301, 304])
  })
})

describe('follow: one tail', { timeout: 60_000 }, () => {
  test('one subscription and no read per event, however many follow', async () => {
    const log = createScriptedLog()
    await using follower = createFollower(log, { pollMs: NO_POLL })
    const ref = newRef()
    log.put(...words(ref, 0, 3))
    const readers = range(1, 50).map(() => readTo(follower.follow(ref.session_id, { after: 0, signal: never() }), 103))
    await waitFor(() => follower.open() === 50 && log.lists.length >= 50)
    await sleep(20)
    const before = log.lists.length
    for (const event of log.put(...words(ref, 3, 103))) {
      log.wake(ref.session_id, event)
      if (event.seq % 20 === 0) await sleep(0)
    }
    for (const got of await Promise.all(readers)) assert.deepEqual(seqs(got), range(1, 103))
    assert.equal(log.subscriptions.ever, 1)
    assert.equal(log.lists.length, before, 'the woken events themselves were used')
    await waitFor(() => log.subscriptions.now === 0)
    assert.equal(follower.open(), 0)
  })

  test('a wake-up that is not the next event, or none at all, makes it look', async () => {
    const log = createScriptedLog()
    await using follower = createFollower(log, { pollMs: NO_POLL })
    const ref = newRef()
    log.put(...words(ref, 0, 1))
    const events = follower.follow(ref.session_id, { after: 0, signal: never() })[Symbol.asyncIterator]()
    const next = async () => (await events.next()).value?.seq
    assert.equal(await next(), 1)
    const [, , fourth] = log.put(...words(ref, 1, 4))
    await waitFor(() => log.subscriptions.now === 1)
    await sleep(20)
    log.wake(ref.session_id, fourth)
    assert.deepEqual([await next(), await next(), await next()], [2, 3, 4])
    log.put(...words(ref, 4, 5))
    log.wake(ref.session_id, undefined)
    assert.equal(await next(), 5)
    log.wake(ref.session_id, fourth)
    const [sixth] = log.put(...words(ref, 5, 6))
    log.wake(ref.session_id, sixth)
    assert.equal(await next(), 6)
    await events.return?.()
  })

  test('woken while it reads, it reads once more', async () => {
    const log = createScriptedLog()
    await using follower = createFollower(log, { pollMs: NO_POLL })
    const ref = newRef()
    const reader = readTo(follower.follow(ref.session_id, { after: 0, signal: never() }), 2)
    await waitFor(() => log.subscriptions.now === 1)
    await sleep(20)
    const answer = log.holdAnswer()
    log.put(delta(ref, 0))
    log.wake(ref.session_id, undefined)
    await waitFor(answer.isHeld)
    log.put(delta(ref, 1))
    log.wake(ref.session_id, undefined)
    await sleep(10)
    answer.release()
    assert.deepEqual(seqs(await reader), [1, 2])
  })

  for (const which of ['of the session', 'of one run'] as const) {
    test(`what comes while a reader ${which} reads its history is not lost`, async () => {
      const log = createScriptedLog()
      await using follower = createFollower(log, { pollMs: NO_POLL })
      const ref = newRef()
      const run = which === 'of one run' ? { runId: ref.run_id } : {}
      log.put(delta(ref, 0))
      const first = readTo(follower.follow(ref.session_id, { after: 0, signal: never() }), 3)
      await waitFor(() => log.subscriptions.now === 1)
      await sleep(20)
      const answer = log.holdAnswer()
      const second = readTo(follower.follow(ref.session_id, { after: 0, signal: never(), ...run }), 3)
      await waitFor(answer.isHeld)
      for (const n of [1, 2]) {
        for (const event of log.put(delta(ref, n))) log.wake(ref.session_id, event)
        await sleep(10)
        if (n === 1) answer.release()
        await sleep(10)
      }
      assert.deepEqual([seqs(await first), seqs(await second)], [range(1, 3), range(1, 3)])
    })
  }

  for (const kind of ['one look for all', 'each for itself'] as const) {
    test(`wake-ups get lost: the poll (${kind}) finds what they would have told`, async () => {
      const log = createScriptedLog()
      if (kind === 'each for itself') delete log.grown
      await using follower = createFollower(log, { pollMs: 10 })
      const refs = [newRef(), newRef()]
      const follow = (ref: RunRef) => readTo(follower.follow(ref.session_id, { after: 0, signal: never() }), 40)
      const readers = refs.map(follow)
      for (let n = 0; n < 40; n++) {
        for (const ref of refs) log.put(delta(ref, n))
        await sleep(1)
      }
      for (const got of await Promise.all(readers)) assert.deepEqual(seqs(got), range(1, 40))
    })
  }

  test('idle sessions are looked at together', async () => {
    const log = createScriptedLog()
    await using follower = createFollower(log, { pollMs: 20 })
    const abort = new AbortController()
    const ids = range(1, 250).map((n) => `idle-${n}`)
    const readers = ids.map((id) => readTo(follower.follow(id, { after: 0, signal: abort.signal }), 1))
    await waitFor(() => log.looks.slice(0, 100).filter((size) => size === 100).length >= 4)
    assert.ok(log.looks.every((size) => size <= 100))
    const lists = log.lists.length
    await waitFor(() => log.looks.length > 20)
    assert.equal(log.lists.length, lists)
    abort.abort()
    await Promise.all(readers)
    const looks = log.looks.length
    await sleep(60)
    assert.equal(log.looks.length, looks, 'nothing is polled for nobody')
  })

  test('an outage of the store, and of the wake-ups, ends nothing', async () => {
    const log = createScriptedLog()
    const errors: unknown[] = []
    await using follower = createFollower(log, { pollMs: 20, onError: (error) => errors.push(error) })
    const ref = newRef()
    const down = async () => {
      throw new Error('down')
    }
    log.gate = down
    const reader = readTo(follower.follow(ref.session_id, { after: 0, signal: never() }), 30)
    log.put(...words(ref, 0, 10))
    await waitFor(() => errors.length > 3)
    log.gate = async () => {}
    await waitFor(() => log.subscriptions.now === 1)
    log.put(...words(ref, 10, 20))
    await sleep(50)
    log.gate = down
    log.breakChanges()
    log.put(...words(ref, 20, 30))
    await sleep(50)
    log.gate = async () => {}
    assert.deepEqual(seqs(await reader), range(1, 30))
    assert.equal(log.subscriptions.ever, 2)
  })
})

test('follow: slow reads, wake-ups lost, doubled and late: what comes out is the log', {
  timeout: 60_000,
}, async () => {
  const random = shuffler(11)
  const log = createScriptedLog()
  log.gate = async () => {
    if (random() < 0.6) await sleep(random() * 4)
    if (random() < 0.1) throw new Error('flaky')
  }
  await using follower = createFollower(log, { pollMs: 15 })
  const ref = newRef()
  const other = nextRun(ref)
  const END = 600
  const readers: Promise<void>[] = []
  for (let n = 0; n < END; n++) {
    const [event] = log.put(delta(n % 3 === 2 ? other : ref, n))
    if (random() < 0.7) log.wake(ref.session_id, event)
    if (random() < 0.2) setTimeout(() => log.wake(ref.session_id, event), random() * 20)
    if (random() < 0.05) log.breakChanges()
    if (n % 20 === 0) {
      const after = Math.floor(random() * n)
      const runId = random() < 0.4 ? ref.run_id : undefined
      const expected = range(after + 1, END).filter((seq) => runId === undefined || seq % 3 !== 0)
      const events = follower.follow(ref.session_id, { after, signal: never(), ...(runId && { runId }) })
      readers.push(readTo(events, expected.at(-1) ?? 0).then((got) => assert.deepEqual(seqs(got), expected)))
    }
    if (random() < 0.3) await sleep(random() * 3)
  }
  await Promise.all(readers)
})
