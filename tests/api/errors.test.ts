import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { test } from 'node:test'
import { BODY_MAX_BYTES } from '#api/errors.ts'
import { ERRORS } from '#contracts/errors.ts'
import { PROMPT_MAX_BYTES } from '#contracts/http.ts'

test('docs/errors.md lists every code with its status and remedy, and no other', async () => {
  const text = await readFile(new URL('../../docs/errors.md', import.meta.url), 'utf8')
  const rows = [...text.matchAll(/^\| `([A-Z_]+)` \| (\d+) \| (.+) \| (.+) \|$/gm)]
  assert.deepEqual(
    rows.map(([, code, status, , remediation]) => ({ code, status: Number(status), remediation })),
    Object.entries(ERRORS).map(([code, { status, remediation }]) => ({ code, status, remediation })),
  )
  for (const limit of [BODY_MAX_BYTES, PROMPT_MAX_BYTES]) assert.ok(text.includes(String(limit)))
})
