import assert from 'node:assert/strict'
import { after, describe, test } from 'node:test'
import { MgxError } from '#contracts/errors.ts'
import { createFollower } from '#store/follow.ts'
import { openMongoStore } from '#store/mongodb.ts'
import { delta, newRef, newRunOf, readLog } from '../conformance/store-world.ts'
import { waitFor } from '../helpers.ts'
import { startMongo } from '../services/mongodb.ts'

const isUnavailable = (error: unknown) => {
  assert.ok(error instanceof MgxError, String(error))
  assert.equal(error.code, 'UNAVAILABLE')
  assert.match(error.detail, /ECONNREFUSED|connection|socket|timed out|closed/i)
  return true
}

describe('mongodb: outages', { timeout: 120_000 }, async () => {
  const mongo = await startMongo({ own: true })
  if ('skip' in mongo) {
    test('outages', { skip: mongo.skip }, () => {})
    return
  }
  after(() => mongo[Symbol.asyncDispose]())

  test('down at start: it opens, says why it cannot work, and works once the server is there', async () => {
    await mongo.kill()
    const warnings: string[] = []
    const log = { warn: (_details: object, message: string) => void warnings.push(message) }
    await using store = await openMongoStore({ url: mongo.url, db: 'start', log })
    await using follower = createFollower(store.events, { pollMs: 100 })
    const ref = newRef()
    const following = (async () => {
      for await (const event of follower.follow(ref.session_id, { after: 0, signal: AbortSignal.timeout(100_000) })) {
        if (event.seq === 2) return event._id
      }
      return 'ended'
    })()
    const run = newRunOf()
    await Promise.all([
      assert.rejects(store.runs.ping(), isUnavailable),
      assert.rejects(store.events.append(ref.session_id, [delta(ref, 0)]), isUnavailable),
      assert.rejects(store.events.list(ref.session_id, { after: 0, limit: 1 }), isUnavailable),
      assert.rejects(store.runs.accept(run), isUnavailable),
      assert.rejects(store.logs.append(ref.run_id, 0, Buffer.from('x')), isUnavailable),
    ])
    await mongo.restart()
    await waitFor(() => store.runs.ping().then(() => true))
    assert.deepEqual((await store.events.append(ref.session_id, [delta(ref, 0)])).outcome, 'stored')
    await store.events.append(ref.session_id, [delta(ref, 1)])
    assert.equal(await following, delta(ref, 1)._id)
    assert.equal((await store.runs.accept(run)).outcome, 'accepted')
    const again = { ...newRunOf(run), run_id: newRef().run_id }
    assert.equal((await store.runs.accept(again)).outcome, 'session_busy', 'the indexes were made')
    assert.ok(warnings.length > 0)
  })

  test('killed while events are written and followed: nothing is lost, doubled or out of order', async () => {
    await using store = await openMongoStore({ url: mongo.url, db: 'middle' })
    await using reader = await openMongoStore({ url: mongo.url, db: 'middle' })
    await using follower = createFollower(reader.events, { pollMs: 200 })
    const ref = newRef()
    const END = 200
    const following = (async () => {
      const seen: string[] = []
      for await (const event of follower.follow(ref.session_id, { after: 0, signal: AbortSignal.timeout(100_000) })) {
        assert.equal(event.seq, seen.length + 1)
        seen.push(event._id)
        if (event.seq === END) break
      }
      return seen
    })()
    const failures: unknown[] = []
    const append = (n: number) =>
      store.events.append(ref.session_id, [delta(ref, n), delta(ref, n + 1)]).catch((error: unknown) => {
        failures.push(error)
        throw error
      })
    for (let n = 0; n < END; n += 2) {
      if (n === 60) {
        await mongo.kill()
        // Long enough that the driver's own retry gives up.
        await assert.rejects(append(n), isUnavailable)
      }
      if (n === 60 || n === 120) await mongo.restart()
      const said = await waitFor(() => append(n), { timeoutMs: 60_000 })
      assert.deepEqual(said.outcome === 'stored' && said.seqs, [n + 1, n + 2])
    }
    assert.ok(failures.every(isUnavailable))
    const stored = await readLog(store.events, ref.session_id)
    assert.deepEqual(
      await following,
      stored.map((event) => event._id),
    )
    assert.equal(stored.length, END)
  })

  test('a server that hangs: the operation that meets it rejects or ends, and the next ones work', async () => {
    await using store = await openMongoStore({ url: mongo.url, db: 'hang' })
    const ref = newRef()
    await store.events.append(ref.session_id, [delta(ref, 0)])
    await mongo.pause()
    const pending = store.events.append(ref.session_id, [delta(ref, 1)]).catch(isUnavailable)
    await assert.rejects(store.runs.ping(), isUnavailable)
    mongo.resume()
    await pending
    await waitFor(() => store.events.append(ref.session_id, [delta(ref, 1), delta(ref, 2)]))
    assert.equal((await readLog(store.events, ref.session_id)).length, 3)
  })
})
