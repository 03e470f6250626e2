import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { gather } from '#scheduler/gather.ts'
import { waitFor } from '../helpers.ts'

const bytes = (text: string) => new TextEncoder().encode(text)
const text = (data: Uint8Array) => Buffer.from(data).toString()

/** A source that counts how far it was read, and knows when it was closed. */
const source = (chunks: readonly string[], fail?: Error) => {
  const state = { read: 0, closed: false }
  const chunksOf = async function* () {
    try {
      for (const chunk of chunks) {
        state.read++
        yield bytes(chunk)
        await turn()
      }
      if (fail) throw fail
    } finally {
      state.closed = true
    }
  }
  return { state, chunks: chunksOf() }
}

describe('gather', () => {
  it('hands on what came while the reader was busy as one piece, in order', async () => {
    const { state, chunks } = source(['a', 'b', 'c', 'd'])
    const pieces: string[] = []
    for await (const piece of gather(chunks, 100)) {
      pieces.push(text(piece))
      await waitFor(() => state.closed)
    }
    assert.deepEqual(pieces, ['a', 'bcd'])
  })

  it('does not read on when as much waits as is allowed', async () => {
    const { state, chunks } = source(['aa', 'bb', 'cc', 'dd', 'ee'])
    const reader = gather(chunks, 4)
    assert.equal(text((await reader.next()).value as Uint8Array), 'aa')
    await waitFor(() => state.read === 3)
    for (let i = 0; i < 20; i++) await turn()
    assert.equal(state.read, 3)
    assert.equal(text((await reader.next()).value as Uint8Array), 'bbcc')
    await waitFor(() => state.read === 5)
    await turn()
    assert.equal(text((await reader.next()).value as Uint8Array), 'ddee')
    assert.equal((await reader.next()).done, true)
  })

  it('gives what came before a failure, then the failure', async () => {
    const { chunks } = source(['a', 'b'], new Error('cut'))
    const pieces: string[] = []
    await assert.rejects(async () => {
      for await (const piece of gather(chunks, 100)) pieces.push(text(piece))
    }, /cut/)
    assert.equal(pieces.join(''), 'ab')
  })

  it('ends an empty source', async () => {
    const pieces = await Array.fromAsync(gather(source([]).chunks, 100))
    assert.deepEqual(pieces, [])
  })
})
