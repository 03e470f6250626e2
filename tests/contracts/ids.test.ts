import assert from 'node:assert/strict'
import { test } from 'node:test'
import { newRunId } from '#contracts/ids.ts'

/** RFC 9562, section 5.7. */
const UUID_V7 = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/

test('run ids are UUIDs of version 7, each greater than the one before, also within a millisecond', () => {
  const ids = Array.from({ length: 20_000 }, newRunId)
  assert.equal(
    ids.find((id) => !UUID_V7.test(id)),
    undefined,
  )
  assert.equal(
    ids.find((id, at) => at > 0 && id <= (ids[at - 1] ?? '')),
    undefined,
  )
})
