import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { createOutbox, type Draft, joinDeltas, saveRoom } from '#agent-runner/outbox.ts'

const at = new Date(0)

const delta = fc
  .record({
    message_id: fc.constantFrom('a', 'b'),
    kind: fc.constantFrom('text', 'reasoning'),
    delta: fc.string({ minLength: 1 }),
  })
  .map(({ kind, ...rest }): Draft => ({ type: 'message_delta', data: { ...rest, kind: kind as 'text', index: 0 }, at }))

const other = fc
  .constantFrom('heartbeat', 'error')
  .map(
    (type): Draft =>
      type === 'heartbeat'
        ? { type, data: { step: 0, state: 'idle' }, at }
        : { type: 'error', data: { code: 'c', message: 'm', retryable: true, fatal: false }, at },
  )

const drafts = fc.array(fc.oneof({ weight: 4, arbitrary: delta }, other), { maxLength: 60 })

/** What a reader can tell apart: the text of each message and kind, and everything else in order. */
const meaning = (list: readonly Draft[], withHeartbeats: boolean) => {
  const texts: Record<string, string> = {}
  const rest: string[] = []
  for (const draft of list) {
    if (draft.type === 'message_delta') {
      const key = `${draft.data.message_id}/${draft.data.kind}`
      texts[key] = (texts[key] ?? '') + draft.data.delta
    } else if (withHeartbeats || draft.type !== 'heartbeat') rest.push(draft.type)
  }
  return { texts, rest }
}

const emptied = (outbox: ReturnType<typeof createOutbox>) => {
  const batches: Draft[][] = []
  for (let batch = outbox.take(); batch.length > 0; batch = outbox.take()) batches.push(batch)
  return batches
}

test('joining deltas changes nothing that a reader can tell, and no delta grows beyond 4 KiB', () => {
  fc.assert(
    fc.property(drafts, (list) => {
      const outbox = createOutbox()
      for (const draft of list) outbox.push(draft)
      const out = emptied(outbox).flat()
      assert.deepEqual(meaning(out, true), meaning(list, true))
      assert.ok(out.length <= list.length)
      assert.ok(out.every((each) => each.type !== 'message_delta' || Buffer.byteLength(each.data.delta) <= 4096))
      assert.deepEqual([outbox.size, outbox.bytes], [0, 0])
    }),
  )
})

test('saving room drops heartbeats and joins deltas; nothing else is lost or moved', () => {
  fc.assert(
    fc.property(drafts, (list) => {
      const out = saveRoom(list)
      assert.deepEqual(meaning(out, false), meaning(list, false))
      assert.equal(
        out.some((each) => each.type === 'heartbeat'),
        false,
      )
    }),
  )
})

test('a crowded outbox saves room, also when it is crowded with what must not be lost', () => {
  const outbox = createOutbox(10_000)
  const texts = Array.from({ length: 300 }, (_, i) => `${i},`.repeat(30))
  for (const [i, text] of texts.entries()) {
    outbox.push({
      type: 'message_delta',
      data: { message_id: i % 2 ? 'a' : 'b', index: 0, kind: 'text', delta: text },
      at,
    })
    outbox.push({ type: 'heartbeat', data: { step: i, state: 'model' }, at })
  }
  const out = emptied(outbox).flat()
  assert.equal(out.filter((each) => each.type === 'heartbeat').length < 100, true)
  assert.deepEqual(meaning(out, false).texts, {
    'a/text': texts.filter((_, i) => i % 2).join(''),
    'b/text': texts.filter((_, i) => i % 2 === 0).join(''),
  })
})

test('one batch stays within what the gateway takes', () => {
  const outbox = createOutbox(100 * 1024 * 1024)
  const error = { code: 'c', message: 'm'.repeat(4000), retryable: true, fatal: false } as const
  for (let i = 0; i < 2000; i++) outbox.push({ type: 'error', data: error, at })
  const batches = emptied(outbox)
  assert.equal(batches.flat().length, 2000)
  for (const batch of batches) assert.ok(batch.length <= 500 && JSON.stringify(batch).length < 4 * 1024 * 1024)
})

test('deltas of different messages or kinds are never joined', () => {
  const of = (message_id: string, kind: 'text' | 'reasoning'): Draft => ({
    type: 'message_delta',
    data: { message_id, index: 0, kind, delta: 'x' },
    at,
  })
  assert.equal(joinDeltas(of('a', 'text'), of('b', 'text')), undefined)
  assert.equal(joinDeltas(of('a', 'text'), of('a', 'reasoning')), undefined)
  assert.notEqual(joinDeltas(of('a', 'text'), of('a', 'text')), undefined)
})
