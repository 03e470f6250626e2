import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { createFollower } from '#store/follow.ts'
import { readFrom } from '#store/follow-one.ts'
import type { Tail } from '#store/follow-tail.ts'
import { newRef } from '../conformance/store-world.ts'
import { sleep, waitFor } from '../helpers.ts'
import { NO_POLL, never, range, readTo, seqs, words } from './following.ts'
import { createScriptedLog } from './scripted-log.ts'

describe('follow: readers', { timeout: 60_000 }, () => {
  test('a slow reader misses nothing, and what it has no room for is read again', async () => {
    const log = createScriptedLog()
    await using follower = createFollower(log, { pollMs: NO_POLL })
    const ref = newRef()
    log.put(...words(ref, 0, 1))
    const slow = follower.follow(ref.session_id, { after: 0, signal: never() })[Symbol.asyncIterator]()
    const fast = readTo(follower.follow(ref.session_id, { after: 0, signal: never() }), 1001)
    assert.equal((await slow.next()).value?.seq, 1)
    await waitFor(() => log.subscriptions.now === 1)
    await sleep(20)
    const before = log.lists.length
    for (const event of log.put(...words(ref, 1, 1001))) log.wake(ref.session_id, event)
    assert.deepEqual(seqs(await fast), range(1, 1001))
    const got: number[] = []
    while (got.at(-1) !== 1001) got.push((await slow.next()).value?.seq ?? 0)
    assert.deepEqual(got, range(2, 1001))
    const reads = log.lists.slice(before)
    assert.ok(reads.length >= 8, 'most of it came from the log')
    assert.ok(reads.every((read) => read.limit <= 200))
    await slow.return?.()
  })

  test('return() while nothing comes: everything is released at once', async () => {
    const log = createScriptedLog()
    await using follower = createFollower(log, { pollMs: NO_POLL })
    const events = follower.follow('idle', { after: 0, signal: never() })[Symbol.asyncIterator]()
    const pending = events.next()
    await waitFor(() => log.subscriptions.now === 1)
    await events.return?.()
    assert.deepEqual(await pending, { done: true, value: undefined })
    assert.deepEqual(await events.next(), { done: true, value: undefined })
    assert.equal(follower.open(), 0)
    await waitFor(() => log.subscriptions.now === 0)
  })

  test('a reader that leaves is not handed anything any more, though others stay', async () => {
    const log = createScriptedLog()
    const listeners = new Set<unknown>()
    const tail: Tail = {
      last: () => 0,
      ready: Promise.resolve(),
      join: (listener) => void listeners.add(listener),
      leave: (listener) => void listeners.delete(listener),
      look: () => {},
      close: () => {},
    }
    const ended: unknown[] = []
    const onEnd = (one: unknown) => ended.push(one)
    const context = { events: log, pollMs: NO_POLL, onError: () => {}, onEnd }
    let told = 0
    const reading = readFrom(context, { sessionId: 's', after: 0, runId: undefined, tail }, () => void told++)
    assert.equal(reading.take(), undefined)
    await waitFor(() => listeners.size === 1)
    reading.close()
    reading.close()
    assert.equal(listeners.size, 0)
    assert.deepEqual([reading.isOver(), told, ended.length], [true, 1, 1])
    assert.equal(reading.take(), undefined)
  })

  test('who reads is told once of what has come, and takes all of it', async () => {
    const log = createScriptedLog()
    await using follower = createFollower(log, { pollMs: NO_POLL })
    const ref = newRef()
    let told = 0
    const got: number[] = []
    const reading = follower.read(ref.session_id, { after: 0 }, () => void told++)
    const takeAll = () => {
      for (let event = reading.take(); event !== undefined; event = reading.take()) got.push(event.seq)
    }
    takeAll()
    await waitFor(() => log.subscriptions.now === 1)
    await sleep(20)
    for (const event of log.put(...words(ref, 0, 3))) log.wake(ref.session_id, event)
    await waitFor(() => told === 1)
    await sleep(20)
    assert.equal(told, 1)
    takeAll()
    assert.deepEqual(got, range(1, 3))
    for (const event of log.put(...words(ref, 3, 4))) log.wake(ref.session_id, event)
    await waitFor(() => told === 2)
    await follower[Symbol.asyncDispose]()
    assert.deepEqual([reading.isOver(), reading.take()], [true, undefined])
  })

  test('return() while the store does not answer', async () => {
    const log = createScriptedLog()
    await using follower = createFollower(log, { pollMs: NO_POLL })
    log.gate = () => new Promise(() => {})
    const events = follower.follow('stuck', { after: 0, signal: never() })[Symbol.asyncIterator]()
    const pending = events.next()
    await events.return?.()
    assert.deepEqual(await pending, { done: true, value: undefined })
    assert.equal(follower.open(), 0)
  })

  test('the signal ends it without throwing: before, while it waits, with events at hand', async () => {
    const log = createScriptedLog()
    await using follower = createFollower(log, { pollMs: NO_POLL })
    const ref = newRef()
    for await (const _ of follower.follow('x', { after: 0, signal: AbortSignal.abort() })) assert.fail('aborted')
    log.put(...words(ref, 0, 5))
    const abort = new AbortController()
    const got: number[] = []
    setTimeout(() => abort.abort(), 50)
    for await (const event of follower.follow(ref.session_id, { after: 0, signal: abort.signal })) got.push(event.seq)
    assert.deepEqual(got, range(1, 5))
    const second = new AbortController()
    for await (const event of follower.follow(ref.session_id, { after: 0, signal: second.signal })) {
      assert.equal(event.seq, 1)
      second.abort()
    }
    assert.equal(follower.open(), 0)
  })

  test('disposing ends all of them, and those that come later', async () => {
    const log = createScriptedLog()
    const follower = createFollower(log, { pollMs: NO_POLL })
    const readers = range(1, 3).map((n) => readTo(follower.follow(`s${n % 2}`, { after: 0, signal: never() }), 9))
    await waitFor(() => log.subscriptions.now === 2)
    await follower[Symbol.asyncDispose]()
    assert.deepEqual(await Promise.all(readers), [[], [], []])
    assert.deepEqual(await readTo(follower.follow('s', { after: 0, signal: never() }), 9), [])
    await waitFor(() => log.subscriptions.now === 0)
  })

  test('a start beyond the end waits for what comes behind it', async () => {
    const log = createScriptedLog()
    await using follower = createFollower(log, { pollMs: NO_POLL })
    const ref = newRef()
    log.put(...words(ref, 0, 2))
    const reader = readTo(follower.follow(ref.session_id, { after: 4, signal: never() }), 6)
    await waitFor(() => log.subscriptions.now === 1)
    await sleep(20)
    for (const event of log.put(...words(ref, 2, 6))) log.wake(ref.session_id, event)
    assert.deepEqual(seqs(await reader), [5, 6])
  })
})
