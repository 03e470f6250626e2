import assert from 'node:assert/strict'
import { test } from 'node:test'
import { sessionEvents } from '#main/sse-lines.ts'

const event = (seq: number, text = 'x') =>
  `id: ${seq}\nevent: log\ndata: ${JSON.stringify({ seq, timestamp: '2026-11-21T10:00:00.000Z', data: { text } })}\n\n`

async function* chunks(text: string, size: number): AsyncGenerator<Uint8Array> {
  const bytes = Buffer.from(text)
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size)
}

for (const size of [1, 3, 7, 10_000]) {
  test(`events come whole, cut anywhere (${size} bytes at a time); comments and news without an id are left out`, async () => {
    const body = `: heartbeat\n\n${event(1, 'grüße 日本')}retry: 1000\n\nevent: queue_position\ndata: {"position":1}\n\n${event(2)}`
    const found = await Array.fromAsync(sessionEvents(chunks(body, size)))
    assert.deepEqual(
      found.map(({ seq }) => seq),
      [1, 2],
    )
    assert.deepEqual(found[0]?.data, { text: 'grüße 日本' })
    assert.ok(found[0]?.timestamp instanceof Date)
  })
}
