import assert from 'node:assert/strict'
import { access, readdir } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { isId } from '#contracts/ids.ts'
import { rawCall } from '../api/streams.ts'
import { LIMIT, sharedWorld } from '../chaos/world.ts'
import { postGenerate } from './generate.ts'

const ODD_IDS = [
  '..',
  '.',
  '...',
  'a b',
  'x;y',
  'a/b',
  '../..',
  '..%2F..',
  '%2E%2E',
  '',
  '-v',
  'a\nb',
  'é',
  'x'.repeat(64),
]

describe('baseline: what comes in', { concurrency: true }, () => {
  const on = sharedWorld({ workers: 0 })

  test(
    'e: odd session ids are refused with the rule, before anything is stored',
    LIMIT,
    on(async ({ stack }) => {
      for (const session_id of ODD_IDS) {
        assert.equal(isId(session_id), false)
        const answer = await postGenerate(stack.urls[0], { session_id, workspace_id: 'good', prompt: 'hello' })
        assert.equal(answer.status, 400, session_id)
        assert.match(await answer.text(), /an id is 1 to 63 characters/)
      }
      for (const path of ['..', '%2E%2E', '..%2F..', 'a%20b', 'x%3By']) {
        for (const end of ['', '/events', '/runs', '/stop']) {
          const method = end === '/stop' ? 'POST' : 'GET'
          const { status, body } = await rawCall(stack.urls[0], `/api/agent/sessions/${path}${end}`, method)
          assert.ok(status === 400 || status === 404, `${path}${end}: ${status}`)
          assert.match(body, /"code":"(INVALID_|NOT_FOUND)/)
        }
      }
      assert.equal(await stack.db.collection('sessions').countDocuments({ session_id: { $in: ODD_IDS } }), 0)
      assert.equal(await stack.db.collection('runs').countDocuments({ session_id: { $in: ODD_IDS } }), 0)
    }),
  )

  test(
    'e: a workspace id cannot lead out of the workspaces, neither by generate nor by any path of the API',
    LIMIT,
    on(async ({ stack }) => {
      const url = stack.urls[0]
      for (const workspace_id of ODD_IDS) {
        const answer = await postGenerate(url, { session_id: stack.sessionId('e'), workspace_id, prompt: 'hello' })
        assert.equal(answer.status, 400, workspace_id)
      }
      const stolen = join(tmpdir(), `${stack.installation}.txt`)
      for (const prefix of ['', '/api', '/api/agent']) {
        const files = `${prefix}/workspaces/%2E%2E/files?path=`
        const read = await rawCall(url, `${files}proc/1/environ`)
        assert.equal(read.status, 404)
        assert.doesNotMatch(read.body, /PATH=|mongodb:/)
        assert.equal((await rawCall(url, `${files}${stolen.slice(1)}`, 'PUT')).status, 404)
      }
      await assert.rejects(access(stolen))
      assert.deepEqual(await readdir(stack.root), [], 'no directory was made')
    }),
  )

  test(
    'jwks: no key of ours is handed out',
    LIMIT,
    on(async ({ stack }) => {
      for (const path of ['/jwks', '/api/jwks', '/oauth2/jwks', '/.well-known/jwks.json']) {
        const answer = await rawCall(stack.urls[0], path)
        assert.equal(answer.status, 404)
        assert.doesNotMatch(answer.body, /"k"|"keys"/)
      }
    }),
  )
})
