import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { encodeEvent, type NewEvent, type RunRef, type SessionEvent } from '#contracts/events.ts'
import type { EventLog } from '#store/event-log.ts'
import { appendSuite } from './event-log-append.ts'
import { wakeUpSuite } from './event-log-wake-ups.ts'
import { zombieSuite } from './event-log-zombies.ts'
import { cancel, delta, finish, newRef, nextRun, readLog, type StoreWorld, say, stopping } from './store-world.ts'

const fill = async (log: EventLog, ref: RunRef, events: readonly NewEvent[]) => {
  const result = await log.append(ref.session_id, events)
  assert.equal(result.outcome, 'stored')
}

const listing = (open: () => StoreWorld) => {
  test('an unknown session is empty', async () => {
    await using store = await open().connect()
    assert.deepEqual(await store.events.list('nobody', { after: 0, limit: 10 }), [])
    assert.equal(await store.events.tail('nobody'), 0)
    assert.deepEqual(await store.events.marks('nobody', 'nothing'), {})
  })

  test('list gives back what was appended, in pages, of one run where asked', async () => {
    await using store = await open().connect()
    const one = newRef()
    const two = nextRun(one)
    const sent = [delta(one, 0), delta(one, 1), finish(one)]
    await fill(store.events, one, sent)
    await fill(store.events, two, [delta(two, 0), delta(two, 1)])
    const all = await readLog(store.events, one.session_id)
    assert.deepEqual(
      all.slice(0, 3),
      sent.map((event, i) => ({ ...event, seq: i + 1, timestamp: all[i]?.timestamp })),
    )
    const page = await store.events.list(one.session_id, { after: 1, limit: 3 })
    assert.deepEqual(page, all.slice(1, 4))
    const ofRun = await store.events.list(one.session_id, { after: 1, limit: 3, runId: one.run_id })
    assert.deepEqual(ofRun, all.slice(1, 3))
    assert.equal(await store.events.tail(one.session_id), 5)
  })

  test('marks: the first of each kind, of this run only', async () => {
    await using store = await open().connect()
    const one = newRef()
    const two = nextRun(one)
    await fill(store.events, one, [stopping(one), cancel(one), finish(one)])
    const running = say(two, 'run_state', { state: 'running' }, 'running')
    const again = say(two, 'run_state', { state: 'stopping', cause: 'worker_lost' }, 'stopping-2')
    await fill(store.events, two, [running, stopping(two), again])
    const all = await readLog(store.events, one.session_id)
    assert.deepEqual(await store.events.marks(one.session_id, one.run_id), {
      stopping: all[0],
      cancelRequested: all[1],
      finish: all[2],
    })
    assert.deepEqual(await store.events.marks(two.session_id, two.run_id), { stopping: all[4] })
  })

  test('finished: which of many runs have their finish, also when their log goes on', async () => {
    await using store = await open().connect()
    const [over, live] = [newRef(), newRef()]
    const next = nextRun(over)
    await fill(store.events, over, [delta(over, 0), finish(over)])
    await fill(store.events, next, [delta(next, 0), stopping(next)])
    await fill(store.events, live, [cancel(live)])
    const asked = [over, next, live].map((ref) => ref.run_id)
    assert.deepEqual([...(await store.events.finished([...asked, 'nothing']))], [over.run_id])
    assert.deepEqual([...(await store.events.finished([]))], [])
  })

  test('grown: which of many sessions have events behind a place', async () => {
    await using store = await open().connect()
    const refs = [newRef(), newRef(), newRef()]
    for (const ref of refs) await fill(store.events, ref, [delta(ref, 0), delta(ref, 1), delta(ref, 2)])
    const [one, two, three] = refs.map((ref) => ref.session_id) as [string, string, string]
    const grown = async (...places: [string, number][]) => (await store.events.grown?.(new Map(places)))?.toSorted()
    assert.deepEqual(await grown([one, 0], [two, 3], [three, 2], ['nobody', 0]), [one, three].toSorted())
    assert.deepEqual(await grown([one, 3], [two, 9]), [])
    assert.deepEqual(await grown(), [])
  })

  test('any JSON comes back as it was', async () => {
    await using store = await open().connect()
    const ref = newRef()
    const input = {
      $where: 1,
      'a.b': { $ref: '#/x', $id: 'y' },
      empty: {},
      list: [null, true, -1.5, 2 ** 40, [], 'ü \u{1f600}'],
    }
    const start = say(ref, 'tool_start', {
      tool_call_id: 't',
      message_id: 'm',
      tool_name: 'write',
      kind: 'edit',
      title: '',
      input,
      risk: 'low',
      attempt: 1,
    })
    await fill(store.events, ref, [start])
    const [stored] = await readLog(store.events, ref.session_id)
    assert.deepEqual(JSON.parse(encodeEvent(stored as SessionEvent)).data, JSON.parse(JSON.stringify(start.data)))
  })

  test('JSON that a database finds odd is stored all the same', async () => {
    await using store = await open().connect()
    const ref = newRef()
    let deep: unknown = 'bottom'
    for (let i = 0; i < 300; i++) deep = { deep }
    const input = { odd: { _bsontype: 'ObjectId' }, nul: { 'a\0b': 1 }, deep }
    const data = { level: 'info', message: 'odd', input } as { level: 'info'; message: string }
    await fill(store.events, ref, [say(ref, 'log', data), finish(ref)])
    assert.equal((await readLog(store.events, ref.session_id)).length, 2)
  })
}

/** The contract of the event log: what every adapter must do. */
export const eventLogSuite = (name: string, openWorld: () => Promise<StoreWorld>): void => {
  describe(`event log: ${name}`, () => {
    let world: StoreWorld
    before(async () => {
      world = await openWorld()
    })
    after(() => world[Symbol.asyncDispose]())
    listing(() => world)
    appendSuite(() => world)
    zombieSuite(() => world)
    wakeUpSuite(() => world)
  })
}
