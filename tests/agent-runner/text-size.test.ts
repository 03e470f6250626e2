import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { headBytes, headTailBytes, headTailChars, tailBytes } from '#agent-runner/text-size.ts'

const text = fc.string({ unit: 'binary', maxLength: 400 }).map((value) => value.toWellFormed())

test('head and tail are parts of the text, fit, are whole characters, and waste less than one', () => {
  fc.assert(
    fc.property(text, fc.integer({ min: 0, max: 500 }), (value, max) => {
      const head = headBytes(value, max)
      const tail = tailBytes(value, max)
      assert.ok(value.startsWith(head) && value.endsWith(tail))
      for (const part of [head, tail]) {
        assert.ok(part.isWellFormed())
        assert.ok(Buffer.byteLength(part) <= max)
        if (part !== value) assert.ok(Buffer.byteLength(part) > max - 4)
      }
    }),
  )
})

test('head and tail of a long text fit together with the line between them, which counts right', () => {
  fc.assert(
    fc.property(text, fc.integer({ min: 100, max: 600 }), (value, max) => {
      const cut = headTailBytes(value, max)
      assert.ok(Buffer.byteLength(cut) <= max)
      assert.ok(cut.isWellFormed())
      if (Buffer.byteLength(value) <= max) return assert.equal(cut, value)
      const found = /^([\s\S]*)\n… (\d+) bytes left out …\n([\s\S]*)$/.exec(cut)
      assert.ok(found)
      const [, head = '', count = '', tail = ''] = found
      assert.ok(value.startsWith(head) && value.endsWith(tail))
      assert.equal(Buffer.byteLength(head) + Number(count) + Buffer.byteLength(tail), Buffer.byteLength(value))
    }),
  )
})

test('the same in characters', () => {
  fc.assert(
    fc.property(text, fc.integer({ min: 10, max: 500 }), (value, max) => {
      const cut = headTailChars(value, max)
      assert.ok(cut.isWellFormed())
      if (value.length <= max) return assert.equal(cut, value)
      const [, head = '', count = '', tail = ''] =
        /^([\s\S]*)\n… (\d+) characters left out …\n([\s\S]*)$/.exec(cut) ?? []
      assert.ok(value.startsWith(head) && value.endsWith(tail))
      assert.equal(head.length + Number(count) + tail.length, value.length)
      assert.ok(head.length + tail.length <= max)
    }),
  )
})
