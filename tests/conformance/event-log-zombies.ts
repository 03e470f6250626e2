import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { NewEvent, RunRef, SessionEvent } from '#contracts/events.ts'
import type { EventLog } from '#store/event-log.ts'
import { delta, finish, newRef, nextRun, readLog, type StoreWorld, shuffler } from './store-world.ts'

const store = async (log: EventLog, ref: RunRef, ...events: NewEvent[]) => {
  assert.equal((await log.append(ref.session_id, events)).outcome, 'stored')
}

const assertRefused = async (log: EventLog, ref: RunRef, ...events: NewEvent[]) => {
  const result = await log.append(ref.session_id, events)
  assert.equal(result.outcome, 'finished')
  if (result.outcome === 'finished') assert.equal(result.finish.run_id, ref.run_id)
}

const assertNothingBehindFinish = (events: readonly SessionEvent[]) => {
  const over = new Set<string>()
  for (const event of events) {
    assert.ok(!over.has(event.run_id), `${event._id} lies behind the finish of its run`)
    if (event.event_type === 'finish') over.add(event.run_id)
  }
}

const lateWriters = (open: () => StoreWorld) => {
  test('a zombie with the tail in memory wakes behind the finish', async () => {
    await using runner = await open().connect()
    await using worker = await open().connect()
    const ref = newRef()
    await store(runner.events, ref, delta(ref, 0))
    await store(worker.events, ref, finish(ref))
    await assertRefused(runner.events, ref, delta(ref, 1))
    await assertRefused(runner.events, ref, delta(ref, 2))
    assert.equal((await readLog(worker.events, ref.session_id)).length, 2)
  })

  test('a zombie with an old tail in memory wakes when the next run is well under way', async () => {
    await using runner = await open().connect()
    await using worker = await open().connect()
    const ref = newRef()
    const next = nextRun(ref)
    await store(runner.events, ref, delta(ref, 0), delta(ref, 1))
    await store(worker.events, ref, delta(ref, 2), finish(ref))
    await store(worker.events, next, delta(next, 0), delta(next, 1))
    await assertRefused(runner.events, ref, delta(ref, 3), delta(ref, 4))
    await store(runner.events, next, delta(next, 2))
    assertNothingBehindFinish(await readLog(worker.events, ref.session_id))
  })

  test('a zombie that starts from nothing after the next run has begun', async () => {
    await using worker = await open().connect()
    const ref = newRef()
    const next = nextRun(ref)
    await store(worker.events, ref, delta(ref, 0), finish(ref))
    await store(worker.events, next, delta(next, 0))
    await using runner = await open().connect()
    await assertRefused(runner.events, ref, delta(ref, 1))
    await store(runner.events, ref, delta(ref, 0))
    assert.equal((await readLog(worker.events, ref.session_id)).length, 3)
  })

  test('the writer of the finish writes nothing behind it, not even in the same call', async () => {
    await using one = await open().connect()
    const ref = newRef()
    await assertRefused(one.events, ref, delta(ref, 0), finish(ref), delta(ref, 1))
    await assertRefused(one.events, ref, delta(ref, 2))
    assert.equal((await readLog(one.events, ref.session_id)).length, 2)
  })
}

const races = (open: () => StoreWorld) => {
  test('writers that race with a finish: each event before it, or not at all', async () => {
    await using a = await open().connect()
    await using b = await open().connect()
    await using c = await open().connect()
    const random = shuffler(7)
    for (let round = 0; round < 15; round++) {
      const ref = newRef()
      const next = nextRun(ref)
      const flow = async (log: EventLog, writer: string, end: number) => {
        for (let n = 0; n < 12; n++) {
          const last = n === end
          const events = last ? [delta(ref, n, writer), finish(ref)] : [delta(ref, n, writer)]
          const { outcome } = await log.append(ref.session_id, events)
          if (last) await log.append(next.session_id, [delta(next, 0, writer)])
          if (outcome === 'finished' && random() < 0.5) break
        }
      }
      const end = Math.floor(random() * 8)
      await Promise.all([flow(a.events, 'a', end), flow(b.events, 'b', end + 2), flow(c.events, 'c', 99)])
      const log = await readLog(a.events, ref.session_id)
      assertNothingBehindFinish(log)
      assert.equal(log.filter((event) => event.event_type === 'finish').length, 1)
    }
  })
}

const database = (open: () => StoreWorld) => {
  test('the database itself refuses a second finish of a run', async () => {
    await using one = await open().connect()
    const ref = newRef()
    await store(one.events, ref, finish(ref))
    const [stored] = await readLog(one.events, ref.session_id)
    const second = { ...(stored as SessionEvent), _id: 'a stranger', seq: 2 }
    await assert.rejects(open().rawEvent(second), /UNIQUE|E11000/)
    await open().rawEvent({ ...second, run_id: 'another run' })
  })

  test('the database itself refuses a second event in one place', async () => {
    await using one = await open().connect()
    const ref = newRef()
    await store(one.events, ref, delta(ref, 0))
    const [stored] = await readLog(one.events, ref.session_id)
    await assert.rejects(open().rawEvent({ ...(stored as SessionEvent), _id: 'a stranger' }), /UNIQUE|E11000/)
  })
}

export const zombieSuite = (open: () => StoreWorld): void => {
  lateWriters(open)
  races(open)
  database(open)
}
