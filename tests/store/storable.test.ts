import assert from 'node:assert/strict'
import { test } from 'node:test'
import { BSON } from 'mongodb'
import { toStorable } from '#store/storable.ts'

const nested = (levels: number): unknown => (levels === 0 ? 'bottom' : { deep: nested(levels - 1) })

test('what BSON holds is given back as it is', () => {
  const value = { $a: { 'b.c': [1, null, { d: new Date(0) }] }, text: 'x', list: [[]], nothing: undefined }
  assert.equal(toStorable(value), value)
  assert.equal(toStorable('text'), 'text')
  assert.equal(toStorable(null), null)
})

test('what BSON cannot hold becomes its JSON text, and nothing else is touched', () => {
  const fine = { a: 1 }
  const value = { fine, odd: { _bsontype: 'Long', low: 1 }, list: [fine, { 'nul\0': 1 }] }
  const kept = toStorable<unknown>(value)
  assert.deepEqual(kept, { fine, odd: '{"_bsontype":"Long","low":1}', list: [fine, '{"nul\\u0000":1}'] })
  assert.deepEqual(BSON.deserialize(BSON.serialize(kept as object)), kept)
})

test('very deep nesting ends in JSON text', () => {
  const kept = toStorable(nested(500))
  let at: unknown = kept
  let levels = 0
  while (typeof at === 'object' && at !== null) {
    at = (at as { deep: unknown }).deep
    levels += 1
  }
  assert.ok(levels < 150)
  assert.match(String(at), /bottom/)
})
