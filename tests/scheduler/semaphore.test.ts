import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createSemaphore } from '#scheduler/semaphore.ts'

const settle = () => new Promise((resolve) => setImmediate(resolve))

test('no more than its places at once, first come first served', async () => {
  const semaphore = createSemaphore(2)
  const order: number[] = []
  let inside = 0
  let most = 0
  const work = async (n: number) => {
    using _place = await semaphore.acquire()
    order.push(n)
    inside += 1
    most = Math.max(most, inside)
    await settle()
    inside -= 1
  }
  await Promise.all([1, 2, 3, 4, 5].map(work))
  assert.equal(most, 2)
  assert.deepEqual(order, [1, 2, 3, 4, 5])
})

test('who gives up while waiting loses no place for the others', async () => {
  const semaphore = createSemaphore(1)
  const first = await semaphore.acquire()
  const stop = new AbortController()
  const second = semaphore.acquire(stop.signal)
  const third = semaphore.acquire()
  stop.abort(new Error('no longer'))
  await assert.rejects(second, /no longer/)
  first[Symbol.dispose]()
  ;(await third)[Symbol.dispose]()
  await assert.rejects(semaphore.acquire(stop.signal), /no longer/)
  ;(await semaphore.acquire())[Symbol.dispose]()
})

test('a place that is given back twice is one place', async () => {
  const semaphore = createSemaphore(1)
  const first = await semaphore.acquire()
  first[Symbol.dispose]()
  first[Symbol.dispose]()
  await semaphore.acquire()
  let third = false
  void semaphore.acquire().then(() => {
    third = true
  })
  await settle()
  assert.equal(third, false)
})
