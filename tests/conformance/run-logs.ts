import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { after, before, describe, test } from 'node:test'
import { LOG_HEAD_BYTES, LOG_TAIL_BYTES, type RunLogs } from '#store/run-logs.ts'
import type { StoreWorld } from './store-world.ts'

const KIB = 1024

/** Bytes that show where in the output they lie. */
const output = (from: number, to: number) => Uint8Array.from({ length: to - from }, (_, i) => (from + i) % 251)

/** Everything kept, as a reader that follows gets it. */
const readAll = async (logs: RunLogs, runId: string, limit = 100 * KIB) => {
  const slices: { offset: number; end: number }[] = []
  let at = 0
  for (;;) {
    const slice = await logs.read(runId, at, limit)
    if (slice === undefined) return slices
    assert.ok(slice.offset >= at && slice.data.byteLength > 0 && slice.data.byteLength <= limit)
    assert.deepEqual(Buffer.from(slice.data), Buffer.from(output(slice.offset, slice.offset + slice.data.byteLength)))
    at = slice.offset + slice.data.byteLength
    const last = slices.at(-1)
    if (last?.end === slice.offset) last.end = at
    else slices.push({ offset: slice.offset, end: at })
  }
}

const appending = (open: () => StoreWorld) => {
  test('an unknown run', async () => {
    await using store = await open().connect()
    assert.deepEqual(await store.logs.stat('nobody'), { size: 0, complete: false })
    assert.equal(await store.logs.read('nobody', 0, 10), undefined)
  })

  test('append, read from any offset, complete', async () => {
    await using store = await open().connect()
    const run = randomUUID()
    await store.logs.append(run, 0, output(0, 10))
    await store.logs.append(run, 10, output(10, 30))
    await store.logs.append(run, 30, output(30, 30))
    assert.deepEqual(await store.logs.stat(run), { size: 30, complete: false })
    assert.deepEqual(await readAll(store.logs, run, 7), [{ offset: 0, end: 30 }])
    const slice = await store.logs.read(run, 12, 5)
    assert.deepEqual(
      { ...slice, data: Buffer.from(slice?.data ?? []) },
      { offset: 12, data: Buffer.from(output(12, 17)) },
    )
    assert.equal(await store.logs.read(run, 30, 5), undefined)
    await store.logs.complete(run)
    await store.logs.complete(run)
    assert.deepEqual(await store.logs.stat(run), { size: 30, complete: true })
  })

  test('an adopter that reads from the first byte: what is known is skipped', async () => {
    await using old = await open().connect()
    await using adopter = await open().connect()
    const run = randomUUID()
    await old.logs.append(run, 0, output(0, 100))
    await adopter.logs.append(run, 0, output(0, 40))
    await adopter.logs.append(run, 40, output(40, 150))
    await old.logs.append(run, 100, output(100, 120))
    await old.logs.append(run, 120, output(120, 170))
    assert.deepEqual(await readAll(adopter.logs, run), [{ offset: 0, end: 170 }])
    assert.equal((await old.logs.stat(run)).size, 170)
  })

  test('a writer that another one was quicker than writes what is left', async () => {
    await using a = await open().connect()
    await using b = await open().connect()
    const run = randomUUID()
    await a.logs.append(run, 0, output(0, 50))
    await b.logs.append(run, 50, output(50, 60))
    await a.logs.append(run, 50, output(50, 100))
    assert.equal((await b.logs.stat(run)).size, 100)
    assert.deepEqual(await readAll(b.logs, run), [{ offset: 0, end: 100 }])
  })

  test('two writers of the same output at once', async () => {
    await using a = await open().connect()
    await using b = await open().connect()
    const run = randomUUID()
    const write = async (logs: RunLogs, step: number) => {
      for (let at = 0; at < 3000; at += step) await logs.append(run, at, output(at, Math.min(3000, at + step)))
    }
    await Promise.all([write(a.logs, 170), write(b.logs, 110)])
    assert.deepEqual(await readAll(a.logs, run), [{ offset: 0, end: 3000 }])
    assert.equal((await b.logs.stat(run)).size, 3000)
  })

  test('a gap stays a gap', async () => {
    await using store = await open().connect()
    const run = randomUUID()
    await store.logs.append(run, 0, output(0, 10))
    await store.logs.append(run, 50, output(50, 60))
    assert.deepEqual(await readAll(store.logs, run), [
      { offset: 0, end: 10 },
      { offset: 50, end: 60 },
    ])
    assert.equal((await store.logs.stat(run)).size, 60)
  })
}

const cap = (open: () => StoreWorld) => {
  test('head and tail are kept, the middle is dropped as it grows', async () => {
    await using store = await open().connect()
    const run = randomUUID()
    const total = LOG_HEAD_BYTES + LOG_TAIL_BYTES + 900 * KIB
    const step = 150 * KIB + 7
    for (let at = 0; at < total; at += step) await store.logs.append(run, at, output(at, Math.min(total, at + step)))
    assert.equal((await store.logs.stat(run)).size, total)
    const [head, tail, ...rest] = await readAll(store.logs, run)
    assert.deepEqual(rest, [])
    assert.ok(head !== undefined && tail !== undefined)
    assert.deepEqual(head, { offset: 0, end: LOG_HEAD_BYTES })
    assert.equal(tail.end, total)
    assert.ok(tail.offset <= total - LOG_TAIL_BYTES && tail.offset >= total - LOG_TAIL_BYTES - 256 * KIB)
  })

  test('one append larger than everything that is kept', async () => {
    await using store = await open().connect()
    const run = randomUUID()
    const total = LOG_HEAD_BYTES + LOG_TAIL_BYTES + 1024 * KIB
    await store.logs.append(run, 0, output(0, total))
    const [head, tail] = await readAll(store.logs, run)
    assert.deepEqual([head?.offset, head?.end, tail?.end], [0, LOG_HEAD_BYTES, total])
  })
}

/** The contract of the run logs: what every adapter must do. */
export const runLogsSuite = (name: string, openWorld: () => Promise<StoreWorld>): void => {
  describe(`run logs: ${name}`, () => {
    let world: StoreWorld
    before(async () => {
      world = await openWorld()
    })
    after(() => world[Symbol.asyncDispose]())
    appending(() => world)
    cap(() => world)
  })
}
