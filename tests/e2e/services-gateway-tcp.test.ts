import assert from 'node:assert/strict'
import { after, describe, test } from 'node:test'
import { freePort } from '../helpers.ts'
import { channelSuite, LIMIT } from './channel-suite.ts'
import { generate } from './generate.ts'
import { kept, logOf } from './kept.ts'
import { secretsSuite } from './secrets-suite.ts'
import { openStack } from './stack.ts'

const port = String(await freePort('0.0.0.0'))
const stack = await openStack({ channel: 'tcp', env: { GATEWAY_TCP_PORT: port } })

describe('gateway over TCP', { skip: 'skip' in stack ? stack.skip : false }, () => {
  if ('skip' in stack) return
  after(() => stack[Symbol.asyncDispose]())
  channelSuite(stack)
  secretsSuite(stack)

  test('whoever comes to the gateway without the token of a run is sent away', LIMIT, async () => {
    const url = `http://host.docker.internal:${port}/v1`
    const ask = (path: string, more = '') =>
      `bash curl -sS --noproxy '*' -w 'status %{http_code}' -o /dev/null ${more} ${url}${path}`
    const token = "-H 'authorization: Bearer 0123456789abcdef'"
    const asked = [ask('/events'), ask('/events', token), ask('/openai/models', token)]
    const run = await generate(stack.urls[0], { session_id: stack.sessionId('door'), prompt: asked.join('\n') })
    assert.equal((await kept(stack, run)).data.cause, 'completed')
    const outputs = (await logOf(stack, run)).flatMap((event) =>
      event.event_type === 'tool_end' ? [event.data.output.split('\n')[0]] : [],
    )
    assert.deepEqual(
      outputs,
      asked.map(() => 'status 401'),
    )
  })
})
