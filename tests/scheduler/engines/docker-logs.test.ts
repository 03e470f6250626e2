import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { demultiplex } from '#scheduler/engines/docker-logs.ts'

const frame = (stream: number, payload: Uint8Array): Buffer => {
  const head = Buffer.alloc(8)
  head[0] = stream
  head.writeUInt32BE(payload.byteLength, 4)
  return Buffer.concat([head, payload])
}

async function* inPieces(data: Uint8Array, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < data.byteLength; at += size) yield data.subarray(at, at + size)
}

const read = async (chunks: AsyncIterable<Uint8Array>): Promise<Buffer> =>
  Buffer.concat(await Array.fromAsync(demultiplex(chunks)))

test('payloads of both streams in their order', async () => {
  const data = Buffer.concat([
    frame(1, Buffer.from('out ')),
    frame(2, Buffer.from('err ')),
    frame(1, Buffer.from('end')),
  ])
  assert.equal(`${await read(inPieces(data, data.byteLength))}`, 'out err end')
})

test('however frames are cut into chunks', async () => {
  const payloads = fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 20 })
  await fc.assert(
    fc.asyncProperty(payloads, fc.integer({ min: 1, max: 64 }), async (parts, size) => {
      const data = Buffer.concat(parts.map((part, n) => frame(1 + (n % 2), part)))
      assert.deepEqual(await read(inPieces(data, size)), Buffer.concat(parts))
    }),
  )
})

test('64 KB of frames of one byte in one chunk: no recursion, one payload', async () => {
  const data = Buffer.concat(Array.from({ length: 65_536 }, () => frame(1, Buffer.from('x'))))
  const payloads = await Array.fromAsync(demultiplex(inPieces(data, data.byteLength)))
  assert.equal(payloads.length, 1)
  assert.equal(`${payloads[0]}`, 'x'.repeat(65_536))
})

test('a huge frame is passed on as it comes, and no further than it is asked for', async () => {
  const chunk = 65_536
  const data = frame(1, Buffer.alloc(16 * 1024 * 1024, 'y'))
  let given = 0
  async function* counted() {
    for await (const piece of inPieces(data, chunk)) {
      given += 1
      yield piece
    }
  }
  const payloads = demultiplex(counted())
  const first = await payloads.next()
  assert.equal(first.value?.byteLength, chunk - 8)
  assert.equal(given, 1)
  await payloads.return(undefined)
  assert.equal(given, 1)
})

test('nothing, and empty frames', async () => {
  assert.equal((await read(inPieces(Buffer.alloc(0), 1))).byteLength, 0)
  const empty = Buffer.concat([frame(1, Buffer.alloc(0)), frame(2, Buffer.from('a')), frame(1, Buffer.alloc(0))])
  assert.equal(`${await read(inPieces(empty, 3))}`, 'a')
})

test('a stream that ends within a frame is an error, not an end', async () => {
  const data = frame(1, Buffer.from('abc'))
  await assert.rejects(read(inPieces(data.subarray(0, 9), 4)), /cut off/)
  await assert.rejects(read(inPieces(data.subarray(0, 5), 4)), /cut off/)
})
