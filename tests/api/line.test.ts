import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createLine, type Line } from '#api/line.ts'
import { type LineSnapshot, takeSnapshot } from '#api/line-snapshot.ts'
import { type Measured, measured } from '#api/pace.ts'
import type { ActiveRun, Ended, Waiting } from '#store/run-line.ts'
import { sleep, waitFor } from '../helpers.ts'

const UNKNOWN: Measured = { secondsAtWork: undefined, atWork: 0, atWorkOf: new Map() }

const waiting = (tenant: string, n: number): Waiting[] =>
  Array.from({ length: n }, (_, i) => ({ run_id: `${tenant}${i}`, tenant_id: tenant }))

const snapshotOf = (runs: readonly Waiting[], pace = UNKNOWN, perTenant?: number): Promise<LineSnapshot> => {
  const pieces = async function* () {
    // Pieces do not end where tenants do.
    for (let n = 0; n < runs.length; n += 3) yield runs.slice(n, n + 3)
  }
  return takeSnapshot(pieces(), async () => pace, perTenant)
}

test('ahead: those of the own tenant, and of every other one as many', async () => {
  const line = await snapshotOf([...waiting('a', 10), ...waiting('b', 3), ...waiting('c', 1)])
  const ahead = (run: string) => line.placeOf(run)?.ahead
  assert.deepEqual(['a0', 'b0', 'c0'].map(ahead), [0, 0, 0])
  assert.deepEqual(['a1', 'b1'].map(ahead), [3, 3])
  assert.deepEqual(['a2', 'b2'].map(ahead), [5, 5])
  assert.deepEqual(['a3', 'a9'].map(ahead), [7, 13])
  assert.equal(line.placeOf('a3')?.position, 8)
  assert.equal(line.placeOf('gone'), undefined)
})

test('alone the position is the place in the line', async () => {
  const line = await snapshotOf(waiting('a', 5_000))
  for (const n of [0, 1, 2, 3, 4_999]) assert.equal(line.placeOf(`a${n}`)?.position, n + 1)
})

test('the estimate: as many rounds as there are places at work, and null where nothing is known', async () => {
  const runs = [...waiting('a', 10), ...waiting('b', 10)]
  const pace = { secondsAtWork: 30, atWork: 4, atWorkOf: new Map() }
  const estimate = async (of: Measured, perTenant?: number) =>
    (await snapshotOf(runs, of, perTenant)).placeOf('a3')?.estimate_seconds
  assert.equal(await estimate(pace), Math.ceil((7 / 4) * 30))
  assert.equal(await estimate(pace, 1), 4 * 30)
  assert.equal(await estimate({ ...pace, atWork: 0 }), null)
  assert.equal(await estimate(UNKNOWN), null)
})

test('the pace: how long the last runs held their places, without those that never had one', () => {
  const at = (seconds: number) => new Date(seconds * 1000)
  const ended = (seconds: number): Ended => ({
    run_id: 'r',
    engine_id: 'e',
    started_at: at(100),
    finished_at: at(100 + seconds / 2),
    seen_at: at(100 + seconds),
  })
  const never: Ended = { run_id: 'r', finished_at: at(5_000) }
  const active: ActiveRun[] = [
    { run_id: '1', tenant_id: 'a', state: 'running', engine_id: 'e' },
    { run_id: '2', tenant_id: 'a', state: 'starting', engine_id: 'e' },
    { run_id: '3', tenant_id: 'b', state: 'finished', engine_id: 'e' },
    { run_id: '4', tenant_id: 'b', state: 'starting' },
  ]
  const pace = measured(active, [ended(10), never, ended(20), ended(30)])
  assert.deepEqual(pace, { secondsAtWork: 20, atWork: 2, atWorkOf: new Map([['a', 2]]) })
  assert.equal(measured([], [ended(10), ended(20), never]).secondsAtWork, undefined, 'two are too few')
})

/** A line that a test moves, and how often it was looked at. */
const moving = (everyMs = 5) => {
  const state = { at: 10, looks: 0, gone: false, fails: 0 }
  const line: Line = createLine({
    everyMs,
    onError: () => {
      state.fails++
    },
    snapshot: async () => {
      state.looks++
      if (state.looks === 1) throw new Error('the first look fails, on purpose')
      const place = { position: state.at + 1, ahead: state.at, estimate_seconds: null }
      return { placeOf: () => (state.gone ? undefined : place) }
    },
  })
  return { state, line }
}

test('who follows is told a place once, and again when it changes, over a failure too', async () => {
  const { state, line } = moving()
  using _line = line
  const told: number[] = []
  const leave = line.follow('r', ({ position }) => void told.push(position))
  await waitFor(() => told.length === 1)
  assert.equal(state.fails, 1)
  const looks = state.looks
  await waitFor(() => state.looks > looks + 3)
  assert.deepEqual(told, [11])
  state.at = 4
  await waitFor(() => told.length === 2)
  assert.deepEqual(told, [11, 5])
  leave()
  state.at = 3
  await sleep(30)
  assert.deepEqual(told, [11, 5])
})

test('those far behind are told once, and not of every step', async () => {
  const { state, line } = moving()
  using _line = line
  state.at = 5_000
  const told: number[] = []
  line.follow('r', ({ position }) => void told.push(position))
  await waitFor(() => told.length === 1)
  for (let n = 0; n < 5; n++) {
    state.at--
    const looks = state.looks
    await waitFor(() => state.looks > looks + 1)
  }
  assert.equal(told.length, 1)
  state.at = 50
  await waitFor(() => told.length === 2)
  assert.equal(told[1], 51)
})

test('ten thousand who follow cost one look, and nobody looks when nobody follows', async () => {
  const { state, line } = moving(60_000)
  using _line = line
  state.looks = 1
  let told = 0
  const leaves = Array.from({ length: 10_000 }, (_, n) => line.follow(`r${n}`, () => void told++))
  await waitFor(() => told === 10_000)
  await Promise.all(Array.from({ length: 100 }, (_, n) => line.placeOf({ run_id: `r${n}`, state: 'queued' })))
  assert.equal(state.looks, 2)
  for (const leave of leaves) leave()
  const idle = moving()
  using _idle = idle.line
  idle.line.follow('r', () => {})()
  await sleep(300)
  assert.equal(idle.state.looks, 0)
})
