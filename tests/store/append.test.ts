import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import type { NewEvent, RunRef, SessionEvent } from '#contracts/events.ts'
import { createAppend } from '#store/append.ts'
import { isEnding } from '#store/append-plan.ts'
import type { AppendOptions, AppendResult } from '#store/event-log.ts'
import { createTailCache } from '#store/tail-cache.ts'
import { cancel, delta, finish, newRef, nextRun, say, stopping } from '../conformance/store-world.ts'
import { createMemoryTable, type MemoryTable } from './event-table.ts'

type Append = (sessionId: string, events: readonly NewEvent[], options?: AppendOptions) => Promise<AppendResult>

/** A process of its own: its tails are in nobody else's memory. */
const processOn = (table: MemoryTable): Append => createAppend(table, createTailCache())

const assertLog = (rows: readonly SessionEvent[]) => {
  const over = new Set<string>()
  const ending = new Set<string>()
  rows.forEach((row, i) => {
    assert.equal(row.seq, i + 1, 'no gaps, stored in order of seq')
    assert.ok(!over.has(row.run_id), `${row._id} lies behind the finish of its run`)
    if (i > 0) assert.ok(row.timestamp.getTime() >= Number(rows[i - 1]?.timestamp.getTime()), 'time goes forward')
    if (isEnding(row)) ending.add(row.run_id)
    if (row.event_type === 'finish') {
      over.add(row.run_id)
      assert.ok(row.data.cause !== 'completed' || !ending.has(row.run_id), 'completed though it was being ended')
    }
  })
}

/** The runner: says three things, then its own finish, which a cancel or an ending forbids. */
const runner = async (append: Append, ref: RunRef) => {
  for (let n = 0; n < 3; n++) {
    const { outcome } = await append(ref.session_id, [delta(ref, 2 * n), delta(ref, 2 * n + 1)])
    if (outcome === 'finished') return
  }
  await append(ref.session_id, [finish(ref)], { unlessEnding: true })
}

/** The worker: ends the run, then begins the next one of the session. */
const worker = async (append: Append, ref: RunRef, next: RunRef, table: MemoryTable) => {
  await append(ref.session_id, [stopping(ref)])
  for (;;) {
    const ifTail = table.rows.length
    const closings = [delta(ref, 0, 'close'), finish(ref, 'cancelled')]
    const { outcome } = await append(ref.session_id, closings, { ifTail })
    if (outcome !== 'moved') break
  }
  await append(next.session_id, [delta(next, 0), delta(next, 1)])
}

const api = (append: Append, ref: RunRef) => append(ref.session_id, [cancel(ref)])

/** A runner that was given up for lost: it wakes with nothing in memory, each time. */
const zombie = async (table: MemoryTable, ref: RunRef) => {
  for (let n = 0; n < 3; n++) await processOn(table)(ref.session_id, [delta(ref, n, 'zombie')])
}

describe('append: any order of the steps of several writers', { timeout: 120_000 }, () => {
  test('no gaps, nothing behind a finish, no completed run that was being ended', async () => {
    const property = fc.asyncProperty(fc.scheduler(), async (scheduler) => {
      const table = createMemoryTable((step) => scheduler.schedule(Promise.resolve(), step))
      const ref = newRef()
      const work = [
        runner(processOn(table), ref),
        worker(processOn(table), ref, nextRun(ref), table),
        api(processOn(table), ref),
        zombie(table, ref),
      ]
      await scheduler.waitFor(Promise.all(work))
      assertLog(table.rows)
      assert.equal(table.rows.filter((row) => row.event_type === 'finish').length, 1)
    })
    await fc.assert(property, { numRuns: 400 })
  })

  test('two who close the same run: the second one gets the places of the first', async () => {
    const property = fc.asyncProperty(fc.scheduler(), async (scheduler) => {
      const table = createMemoryTable((step) => scheduler.schedule(Promise.resolve(), step))
      const ref = newRef()
      const closings = [delta(ref, 0), delta(ref, 1), finish(ref)]
      const closers = [0, 1].map(() => processOn(table)(ref.session_id, closings))
      const [one, two] = await scheduler.waitFor(Promise.all(closers))
      assertLog(table.rows)
      assert.ok(one?.outcome === 'stored' && two?.outcome === 'stored')
      assert.deepEqual([one.seqs, two.seqs], [one.seqs, one.seqs])
    })
    await fc.assert(property, { numRuns: 200 })
  })
})

describe('append: the tail in memory', () => {
  const counting = () => {
    const steps: string[] = []
    const table = createMemoryTable(async (step) => steps.push(step))
    return { table, steps: () => steps.splice(0) }
  }

  test('costs one write per append, and a look only after a clash', async () => {
    const { table, steps } = counting()
    const mine = processOn(table)
    const ref = newRef()
    await mine(ref.session_id, [delta(ref, 0)])
    assert.deepEqual(steps(), ['tail', `insert ${ref.run_id}:r:0 at 1`])
    await mine(ref.session_id, [delta(ref, 1)])
    assert.deepEqual(steps(), [`insert ${ref.run_id}:r:1 at 2`])
    await processOn(table)(ref.session_id, [delta(ref, 2)])
    assert.deepEqual(steps(), ['tail', 'facts', `insert ${ref.run_id}:r:2 at 3`])
    await mine(ref.session_id, [delta(ref, 3)])
    assert.deepEqual(steps(), [
      `insert ${ref.run_id}:r:3 at 3`,
      'tail',
      'facts',
      'places',
      `insert ${ref.run_id}:r:3 at 4`,
    ])
  })

  test('a run that was just accepted needs no look at all', async () => {
    const { table, steps } = counting()
    const tails = createTailCache()
    const append = createAppend(table, tails)
    const ref = newRef()
    tails.openSession(ref.session_id, ref.run_id)
    await append(ref.session_id, [delta(ref, 0)])
    const next = nextRun(ref)
    tails.expectRun(next.session_id, next.run_id)()
    await append(next.session_id, [delta(next, 0)])
    assert.deepEqual(steps(), [`insert ${ref.run_id}:r:0 at 1`, `insert ${next.run_id}:r:0 at 2`])
  })

  test('a run of which no more than its beginning was read needs no look either', async () => {
    const { table, steps } = counting()
    const ref = newRef()
    const first = [
      say(ref, 'user_message', { message_id: 'm', content: 'hello', source: 'client' }),
      say(ref, 'run_state', { state: 'queued' }, 'queued'),
    ]
    await processOn(table)(ref.session_id, first)
    steps()
    const readBy = (rows: readonly SessionEvent[]) => {
      const tails = createTailCache()
      tails.read(ref.session_id, ref.run_id, rows)
      return createAppend(table, tails)
    }
    const early = readBy(table.rows)
    await readBy(table.rows)(ref.session_id, [delta(ref, 0)])
    assert.deepEqual(steps(), [`insert ${ref.run_id}:r:0 at 3`])
    await processOn(table)(ref.session_id, [cancel(ref)])
    steps()
    const result = await early(ref.session_id, [finish(ref)], { unlessEnding: true })
    assert.equal(result.outcome, 'ending', 'what came since is met, at the price of a look')
    assert.deepEqual(steps().slice(1), ['tail', 'facts', 'places'])
    for (const rows of [[], table.rows.slice(0, 1), table.rows.slice(1, 3), table.rows]) {
      await readBy(rows)(ref.session_id, [delta(ref, 0)])
      assert.equal(steps()[0], 'tail', `${rows.length} events say nothing of the end of the log`)
    }
  })

  test('a session that was thought to be new, and is not', async () => {
    const { table } = counting()
    const ref = newRef()
    await processOn(table)(ref.session_id, [delta(ref, 0), finish(ref)])
    const tails = createTailCache()
    const late = createAppend(table, tails)
    tails.openSession(ref.session_id, ref.run_id)
    assert.equal((await late(ref.session_id, [delta(ref, 1)])).outcome, 'finished')
    assertLog(table.rows)
  })

  test('a run that was stored while the session was read anew is looked up', async () => {
    const { table, steps } = counting()
    const tails = createTailCache()
    const append = createAppend(table, tails)
    const ref = newRef()
    const next = nextRun(ref)
    await append(ref.session_id, [delta(ref, 0)])
    const isStored = tails.expectRun(next.session_id, next.run_id)
    await processOn(table)(next.session_id, [delta(next, 0), finish(next)])
    await append(ref.session_id, [delta(ref, 1)])
    isStored()
    steps()
    assert.equal((await append(next.session_id, [delta(next, 1)])).outcome, 'finished')
    assertLog(table.rows)
  })

  test('forgotten sessions are looked up again', async () => {
    const { table, steps } = counting()
    const append = createAppend(table, createTailCache(2))
    const refs = [newRef(), newRef(), newRef()]
    for (const ref of refs) await append(ref.session_id, [delta(ref, 0)])
    steps()
    const [first, , third] = refs as [RunRef, RunRef, RunRef]
    await append(third.session_id, [delta(third, 1)])
    assert.equal(steps().length, 1)
    await append(first.session_id, [delta(first, 1)])
    assert.deepEqual(steps().slice(0, 2), ['tail', 'facts'])
  })

  test('a write whose fate is unknown: nothing in memory is trusted after it', async () => {
    const { table } = counting()
    const ref = newRef()
    let broken = true
    const flaky: MemoryTable = {
      ...table,
      async insert(events) {
        const written = await table.insert(events)
        if (!broken) return written
        broken = false
        throw new Error('the answer got lost')
      },
    }
    const append = processOn(flaky)
    await assert.rejects(append(ref.session_id, [delta(ref, 0), delta(ref, 1)]), /got lost/)
    const again = await append(ref.session_id, [delta(ref, 0), delta(ref, 1), delta(ref, 2)])
    assert.deepEqual(again.outcome === 'stored' && again.seqs, [1, 2, 3])
    assertLog(table.rows)
  })
})
