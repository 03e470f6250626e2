import { test } from 'node:test'
import { rehearse } from '#agent-runner/rehearsal.ts'

test('the run that nobody sees comes to its end: it rejects otherwise', async () => {
  await rehearse(new AbortController().signal)
})
