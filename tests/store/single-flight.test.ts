import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createSingleFlight } from '#store/single-flight.ts'
import { sleep, waitFor } from '../helpers.ts'

const flight = (work: () => Promise<boolean>, signal = new AbortController().signal) => {
  const errors: unknown[] = []
  return { ask: createSingleFlight({ work, signal, maxPauseMs: 10, onError: (error) => errors.push(error) }), errors }
}

test('one at a time; asked meanwhile, once more; asked at any moment after, again', async () => {
  let runs = 0
  let now = 0
  const { ask } = flight(async () => {
    now += 1
    assert.equal(now, 1)
    runs += 1
    await null
    now -= 1
    return false
  })
  for (let turns = 0; turns < 12; turns++) {
    const before = runs
    void ask()
    for (let i = 0; i < turns; i++) await null
    const done = runs
    await ask()
    assert.ok(runs > done, `asked ${turns} turns later, it ran again`)
    assert.ok(runs - before <= 2)
  }
})

test('goes on while there is more to do, and after failures', async () => {
  let runs = 0
  const { ask, errors } = flight(async () => {
    runs += 1
    if (runs === 3) throw new Error('flaky')
    return runs < 6
  })
  await ask()
  assert.equal(runs, 6)
  assert.equal(errors.length, 1)
})

test('ends when the signal aborts, also while it fails', async () => {
  const abort = new AbortController()
  const { ask, errors } = flight(async () => {
    throw new Error('down')
  }, abort.signal)
  const done = ask()
  await waitFor(() => errors.length > 1)
  abort.abort()
  await done
  const before = errors.length
  await ask()
  await sleep(20)
  assert.equal(errors.length, before)
})
