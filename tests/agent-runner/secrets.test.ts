import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { createRedactor, REDACTED, urlSecrets } from '#agent-runner/secrets.ts'

const SECRET = 'sk-aaab-aaac'

/** Cuts a text at the given places, in pieces of at least one character. */
const pieces = (text: string, places: readonly number[]): string[] => {
  const cuts = [...new Set([0, ...places.map((place) => place % (text.length + 1)), text.length])].sort((a, b) => a - b)
  return cuts.slice(1).map((end, i) => text.slice(cuts[i], end))
}

const secretText = fc
  .array(fc.oneof(fc.constantFrom('a', 'sk-', 'aaab', '-aaac', 'sk-aaab-', 'x', '\n', '😀'), fc.constant(SECRET)))
  .map((parts) => parts.join(''))

test('however a text is cut into pieces, what is shown has no secret in it and says the rest unchanged', () => {
  fc.assert(
    fc.property(secretText, fc.array(fc.nat()), (text, places) => {
      const stream = createRedactor([SECRET]).stream()
      const shown =
        pieces(text, places)
          .map((piece) => stream.push(piece))
          .join('') + stream.end()
      assert.equal(shown.includes(SECRET), false)
      assert.equal(shown, createRedactor([SECRET]).clean(text))
      assert.ok(shown.isWellFormed())
    }),
    { numRuns: 500 },
  )
})

test('nothing is held back longer than it may be the beginning of a secret', () => {
  const stream = createRedactor([SECRET]).stream()
  assert.equal(stream.push('hello sk-a'), 'hello ')
  assert.equal(stream.push('x'), 'sk-ax')
  assert.equal(stream.push('sk-aaab-aaa'), '')
  assert.equal(stream.push('c!'), `${REDACTED}!`)
  assert.equal(stream.push('sk-'), '')
  assert.equal(stream.end(), 'sk-')
})

test('words that are too short to be a key are left alone', () => {
  assert.equal(createRedactor(['test', '']).clean('a test'), 'a test')
})

test('of a connection string the password is secret, as written and as meant; one without a password is not', () => {
  assert.deepEqual(urlSecrets('mongodb://mongo:27017/db'), [])
  assert.deepEqual(urlSecrets('mongodb://agent:p%40ssw0rd@mongo/db'), [
    'mongodb://agent:p%40ssw0rd@mongo/db',
    'p%40ssw0rd',
    'p@ssw0rd',
  ])
  assert.equal(
    createRedactor(urlSecrets('mongodb://agent:p%40ssw0rd@mongo/db')).clean('login p@ssw0rd'),
    `login ${REDACTED}`,
  )
})
