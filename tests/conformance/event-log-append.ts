import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { NewEvent, RunRef, SessionEvent } from '#contracts/events.ts'
import type { EventLog } from '#store/event-log.ts'
import { cancel, delta, finish, newRef, nextRun, readLog, type StoreWorld, say, stopping } from './store-world.ts'

const ids = (events: readonly SessionEvent[]) => events.map((event) => event._id)

const seqsOf = async (log: EventLog, ref: RunRef, events: readonly NewEvent[]): Promise<readonly number[]> => {
  const result = await log.append(ref.session_id, events)
  assert.equal(result.outcome, 'stored')
  return result.outcome === 'stored' ? result.seqs : []
}

const order = (open: () => StoreWorld) => {
  test('three concurrent writers: no gaps, each one in its own order', async () => {
    await using a = await open().connect()
    await using b = await open().connect()
    await using c = await open().connect()
    const ref = newRef()
    const write = async (log: EventLog, writer: string) => {
      const said: { id: string; seq: number | undefined }[] = []
      for (let n = 0; n < 30; n += 3) {
        const events = [0, 1, 2].slice(0, 1 + (n % 4)).map((i) => delta(ref, n + i, writer))
        const seqs = await seqsOf(log, ref, events)
        events.forEach((event, i) => void said.push({ id: event._id, seq: seqs[i] }))
      }
      return said
    }
    const said = await Promise.all([write(a.events, 'a'), write(b.events, 'b'), write(c.events, 'c')])
    const log = await readLog(a.events, ref.session_id)
    assert.equal(log.length, said.flat().length)
    for (const { id, seq } of said.flat()) assert.equal(log[Number(seq) - 1]?._id, id)
    for (const one of said) {
      const seqs = one.map(({ seq }) => Number(seq))
      assert.deepEqual(
        seqs,
        seqs.toSorted((x, y) => x - y),
      )
    }
  })

  test('many appends at once in one process: no gaps, none lost', async () => {
    await using store = await open().connect()
    const refs = [newRef(), newRef(), newRef()]
    await Promise.all(
      Array.from({ length: 60 }, (_, n) => {
        const ref = refs[n % 3] as RunRef
        return seqsOf(store.events, ref, [delta(ref, 2 * n), delta(ref, 2 * n + 1)])
      }),
    )
    for (const ref of refs) assert.equal((await readLog(store.events, ref.session_id)).length, 40)
  })

  test('a resend writes nothing and gives the first places, whoever sends it', async () => {
    await using a = await open().connect()
    await using b = await open().connect()
    const ref = newRef()
    const events = [delta(ref, 0), delta(ref, 1), delta(ref, 2)]
    assert.deepEqual(await seqsOf(a.events, ref, events), [1, 2, 3])
    assert.deepEqual(await seqsOf(a.events, ref, events), [1, 2, 3])
    assert.deepEqual(await seqsOf(b.events, ref, events), [1, 2, 3])
    const more = [delta(ref, 3), delta(ref, 1), delta(ref, 4), delta(ref, 3)]
    assert.deepEqual(await seqsOf(b.events, ref, more), [4, 2, 5, 4])
    assert.deepEqual(await seqsOf(a.events, ref, [delta(ref, 5)]), [6])
    assert.equal((await readLog(a.events, ref.session_id)).length, 6)
  })

  test('time goes forward with seq where the clock of a writer is behind', async () => {
    await using a = await open().connect()
    await using b = await open().connect()
    const ref = newRef()
    const at = (event: NewEvent, ms: number): NewEvent => ({ ...event, timestamp: new Date(ms) })
    await seqsOf(a.events, ref, [at(delta(ref, 0), 5000)])
    await seqsOf(b.events, ref, [at(delta(ref, 1), 3000), at(delta(ref, 2), 5001)])
    await seqsOf(a.events, ref, [at(delta(ref, 3), 1000)])
    await seqsOf(b.events, ref, [at(delta(ref, 4), 1000)])
    const times = (await readLog(a.events, ref.session_id)).map((event) => event.timestamp.getTime())
    assert.deepEqual(times, [5000, 5000, 5001, 5001, 5001])
  })

  test('append refuses events of two runs or of another session', async () => {
    await using store = await open().connect()
    const ref = newRef()
    await assert.rejects(store.events.append(ref.session_id, [delta(ref, 0), delta(nextRun(ref), 0)]), TypeError)
    await assert.rejects(store.events.append('another', [delta(ref, 0)]), TypeError)
    assert.deepEqual(await readLog(store.events, ref.session_id), [])
  })
}

const conditions = (open: () => StoreWorld) => {
  test('ifTail: written only at that tail, also when this writer has not seen it yet', async () => {
    await using a = await open().connect()
    await using b = await open().connect()
    const ref = newRef()
    await seqsOf(a.events, ref, [delta(ref, 0)])
    await seqsOf(b.events, ref, [delta(ref, 1), delta(ref, 2)])
    const closing = [delta(ref, 3, 'close'), finish(ref)]
    for (const ifTail of [0, 1, 2, 4]) {
      assert.deepEqual(await a.events.append(ref.session_id, closing, { ifTail }), { outcome: 'moved' })
    }
    await seqsOf(b.events, ref, [delta(ref, 4)])
    assert.deepEqual(await a.events.append(ref.session_id, closing, { ifTail: 3 }), { outcome: 'moved' })
    const stored = { outcome: 'stored', seqs: [5, 6], tail: 6, ending: false }
    assert.deepEqual(await a.events.append(ref.session_id, closing, { ifTail: 4 }), stored)
    assert.deepEqual(await a.events.append(ref.session_id, closing, { ifTail: 4 }), stored, 'its answer got lost')
    assert.equal((await readLog(a.events, ref.session_id)).length, 6)
  })

  for (const [what, ending] of [['cancel_requested', cancel] as const, ['stopping', stopping] as const]) {
    test(`unlessEnding: another writer's ${what} just before the runner's finish`, async () => {
      await using runner = await open().connect()
      await using api = await open().connect()
      const ref = newRef()
      const first = await runner.events.append(ref.session_id, [delta(ref, 0)], { unlessEnding: true })
      assert.deepEqual(first, { outcome: 'stored', seqs: [1], tail: 1, ending: false })
      const other = nextRun(ref)
      await seqsOf(api.events, other, [ending(other)])
      assert.equal(
        (await runner.events.append(ref.session_id, [delta(ref, 1)], { unlessEnding: true })).outcome,
        'stored',
      )
      await seqsOf(api.events, ref, [ending(ref)])
      const last = await runner.events.append(ref.session_id, [finish(ref)], { unlessEnding: true })
      assert.deepEqual(last, { outcome: 'ending' })
      const tools = await runner.events.append(ref.session_id, [delta(ref, 2)])
      assert.deepEqual(tools, { outcome: 'stored', seqs: [5], tail: 5, ending: true })
      await seqsOf(api.events, ref, [finish(ref, 'cancelled')])
      const late = await runner.events.append(ref.session_id, [delta(ref, 3)], { unlessEnding: true })
      assert.equal(late.outcome, 'finished')
    })
  }

  test('unlessEnding: a resend of what is stored is still stored', async () => {
    await using runner = await open().connect()
    await using api = await open().connect()
    const ref = newRef()
    await runner.events.append(ref.session_id, [delta(ref, 0)], { unlessEnding: true })
    await seqsOf(api.events, ref, [cancel(ref)])
    const again = await runner.events.append(ref.session_id, [delta(ref, 0)], { unlessEnding: true })
    assert.deepEqual({ ...again, tail: 0, ending: true }, { outcome: 'stored', seqs: [1], tail: 0, ending: true })
  })

  test('ending is told to the one who wrote it, too', async () => {
    await using store = await open().connect()
    const ref = newRef()
    const result = await store.events.append(ref.session_id, [say(ref, 'run_state', { state: 'queued' }, 'queued')])
    assert.equal(result.outcome === 'stored' && result.ending, false)
    const after = await store.events.append(ref.session_id, [stopping(ref)])
    assert.equal(after.outcome === 'stored' && after.ending, true)
  })

  test('two closers at once: one set of closings, both get its places', async () => {
    await using a = await open().connect()
    await using b = await open().connect()
    for (let round = 0; round < 8; round++) {
      const ref = newRef()
      await seqsOf(a.events, ref, [delta(ref, 0)])
      const closings = () => [delta(ref, 1, 'close'), delta(ref, 2, 'close'), finish(ref)]
      const both = await Promise.all([seqsOf(a.events, ref, closings()), seqsOf(b.events, ref, closings())])
      assert.deepEqual(both, [
        [2, 3, 4],
        [2, 3, 4],
      ])
      assert.equal(ids(await readLog(b.events, ref.session_id)).length, 4)
    }
  })
}

export const appendSuite = (open: () => StoreWorld): void => {
  order(open)
  conditions(open)
}
