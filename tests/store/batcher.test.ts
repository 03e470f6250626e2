import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createBatcher, type Outcome } from '#store/batcher.ts'
import { sleep } from '../helpers.ts'

const done = <R>(value: R): Outcome<R> => ({ kind: 'done', value })

/** A batcher whose writes are seen, and wait until they are let go. */
const observed = (answer: (items: readonly number[]) => Outcome<string>[] | Error, maxInFlight = 1) => {
  const batches: (readonly number[])[] = []
  let open = Promise.withResolvers<void>()
  const batcher = createBatcher<number, string>({
    async write(items) {
      batches.push(items)
      await open.promise
      const outcome = answer(items)
      if (outcome instanceof Error) throw outcome
      return outcome
    },
    maxItems: 4,
    maxInFlight,
    tryAlone: (error) => (error as Error).message === 'spoilt',
  })
  const letGo = () => {
    const before = open
    open = Promise.withResolvers()
    open.resolve()
    before.resolve()
  }
  return { batcher, batches, letGo }
}

const names = (items: readonly number[]) => items.map((item) => done(`n${item}`))

test('the first one leaves at once; what comes meanwhile goes together, up to the limit', async () => {
  const { batcher, batches, letGo } = observed(names)
  const results = Promise.all([1, 2, 3, 4, 5, 6].map(batcher))
  assert.deepEqual(batches, [[1]])
  letGo()
  assert.deepEqual(await results, ['n1', 'n2', 'n3', 'n4', 'n5', 'n6'])
  assert.deepEqual(batches, [[1], [2, 3, 4, 5], [6]])
})

test('several writes at a time', async () => {
  const { batcher, batches, letGo } = observed(names, 2)
  const results = Promise.all([1, 2, 3, 4].map(batcher))
  assert.deepEqual(batches, [[1], [2]])
  letGo()
  assert.deepEqual(await results, ['n1', 'n2', 'n3', 'n4'])
  assert.equal(batches.length, 3)
})

test('what was not tried comes first in the next batch', async () => {
  let first = true
  const { batcher, batches, letGo } = observed((items) => {
    if (!first || items.length < 3) return names(items)
    first = false
    return items.map((item, i) => (i === 0 ? done(`n${item}`) : { kind: 'again' }))
  })
  const results = Promise.all([1, 2, 3, 4, 5, 6].map(batcher))
  letGo()
  assert.deepEqual(await results, ['n1', 'n2', 'n3', 'n4', 'n5', 'n6'])
  assert.deepEqual(batches, [[1], [2, 3, 4, 5], [3, 4, 5, 6]])
})

test('one bad item fails alone, though it spoils its batch', async () => {
  const { batcher, batches, letGo } = observed((items) => (items.includes(3) ? new Error('spoilt') : names(items)))
  const results = Promise.allSettled([1, 2, 3, 4].map(batcher))
  letGo()
  assert.deepEqual(
    (await results).map((result) => result.status),
    ['fulfilled', 'fulfilled', 'rejected', 'fulfilled'],
  )
  assert.deepEqual(batches, [[1], [2, 3, 4], [2], [3], [4]])
})

test('where the server is the reason all fail, and the next ones are tried', async () => {
  let down = true
  const { batcher, letGo } = observed((items) => (down ? new Error('down') : names(items)))
  const results = Promise.allSettled([1, 2, 3].map(batcher))
  letGo()
  assert.deepEqual(
    (await results).map((result) => result.status),
    ['rejected', 'rejected', 'rejected'],
  )
  down = false
  await sleep(0)
  assert.equal(await batcher(9), 'n9')
})

test('single failures within a batch', async () => {
  const { batcher, letGo } = observed((items) =>
    items.map((item) => (item === 2 ? { kind: 'failed', error: new Error('bad') } : done('ok'))),
  )
  const results = Promise.allSettled([1, 2, 3].map(batcher))
  letGo()
  assert.deepEqual(
    (await results).map((result) => result.status),
    ['fulfilled', 'rejected', 'fulfilled'],
  )
})
