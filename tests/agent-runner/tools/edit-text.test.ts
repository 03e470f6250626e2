import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { changedLines, editText } from '#agent-runner/tools/edit-text.ts'

const words = fc
  .array(fc.constantFrom('a', 'b', 'ab', ' ', '\n', '$&', '$1'), { maxLength: 30 })
  .map((parts) => parts.join(''))

test('an edit either replaces exactly the one place, literally, or leaves everything as it was', () => {
  fc.assert(
    fc.property(words, words, words, words, (before, old, after, replacement) => {
      const text = before + old + after
      const count = old === '' ? 0 : text.split(old).length - 1
      const result = editText(text, [{ old, new: replacement }])
      if (old.trim() === '' || old === replacement || count !== 1) return assert.ok('problem' in result)
      assert.ok('text' in result)
      const at = text.indexOf(old)
      assert.equal(result.text, text.slice(0, at) + replacement + text.slice(at + old.length))
    }),
    { numRuns: 500 },
  )
})

test('lines that differ in the space around them are found if there is one such place; the new text goes in as given', () => {
  const text = 'if (a) {\n\treturn 1\n}\n'
  const done = editText(text, [{ old: '  return 1  ', new: '  return 2' }])
  assert.ok('text' in done)
  assert.equal(done.text, 'if (a) {\n  return 2\n}\n')
  assert.equal(done.notes.length, 1)
  const twice = editText('\ta\n\ta\n', [{ old: '    a', new: 'b' }])
  assert.match(
    'problem' in twice ? twice.problem : '',
    /0 times \(apart from the space around its lines it occurs 2 times\)/,
  )
  const replaced = editText('x\n  one\n  two\ny\n', [{ old: 'one\ntwo\n', new: 'three\n' }])
  assert.equal('text' in replaced && replaced.text, 'x\nthree\ny\n')
})

test('what changed is shown from the first difference to the last', () => {
  assert.equal(changedLines('a\nb\nc', 'a\nB\nc'), '@@ line 2 @@\n-b\n+B')
  assert.equal(changedLines('a\nc', 'a\nb\nc'), '@@ line 2 @@\n+b')
  assert.match(changedLines('', 'x\n'.repeat(100)), /… \d+ more lines$/)
})
