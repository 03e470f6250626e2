import assert from 'node:assert/strict'
import { test } from 'node:test'
import { encodeEvent, type SessionEvent } from '#contracts/events.ts'
import type { EventLog } from '#store/event-log.ts'
import { sleep } from '../helpers.ts'
import { delta, newRef, readLog, type StoreWorld, say } from './store-world.ts'

/** Reads wake-ups until the event itself came, or a "look" behind which it is in the log. */
const awaitEvent = async (
  log: EventLog,
  wakeUps: AsyncIterator<SessionEvent | undefined>,
  session: string,
  id: string,
) => {
  for (;;) {
    const { done, value } = await wakeUps.next()
    if (done) throw new Error('the wake-ups ended')
    if (value !== undefined && value._id === id) return value
    if (value === undefined) {
      const found = (await log.list(session, { after: 0, limit: 1000 })).find((event) => event._id === id)
      if (found !== undefined) return found
    }
  }
}

export const wakeUpSuite = (open: () => StoreWorld): void => {
  test('changes: wakes those who wait for the session, with what list gives', { timeout: 30_000 }, async () => {
    await using store = await open().connect()
    const ref = newRef()
    const other = newRef()
    const ended = new AbortController()
    const wakeUps = store.events.changes(ref.session_id, ended.signal)[Symbol.asyncIterator]()
    // An adapter may need a moment before it hears anything: keep saying something, as a session does.
    let n = 0
    const speak = async () => {
      while (!ended.signal.aborted) {
        await store.events.append(other.session_id, [delta(other, n)])
        await store.events.append(ref.session_id, [
          say(ref, 'log', { level: 'info', message: `${n} \ud800` }, `log:${n}`),
        ])
        n += 1
        await sleep(20)
      }
    }
    const speaking = speak()
    const woken = await awaitEvent(store.events, wakeUps, ref.session_id, `${ref.run_id}:log:2`)
    ended.abort()
    await speaking
    const stored = (await readLog(store.events, ref.session_id)).find((event) => event._id === woken._id)
    assert.equal(encodeEvent(woken), encodeEvent(stored as SessionEvent))
  })

  test('changes: ends without throwing when aborted, also while it waits, also before it began', async () => {
    await using store = await open().connect()
    const abort = new AbortController()
    const wakeUps = store.events.changes('quiet', abort.signal)[Symbol.asyncIterator]()
    const pending = (async () => {
      for (;;) if ((await wakeUps.next()).done) return 'ended'
    })()
    abort.abort()
    assert.equal(await pending, 'ended')
    for await (const _ of store.events.changes('quiet', abort.signal)) assert.fail('nothing may come')
  })

  test('changes: return() ends it at once though nothing comes', async () => {
    await using store = await open().connect()
    const wakeUps = store.events.changes('quiet', new AbortController().signal)[Symbol.asyncIterator]()
    const pending = (async () => {
      for (;;) if ((await wakeUps.next()).done) return 'ended'
    })()
    await wakeUps.return?.()
    assert.equal(await pending, 'ended')
  })
}
