import assert from 'node:assert/strict'
import { after, describe, test } from 'node:test'
import type { SessionEvent } from '#contracts/events.ts'
import { waitFor } from '../helpers.ts'
import { channelSuite, HOLD, LIMIT, letGo } from './channel-suite.ts'
import { generate } from './generate.ts'
import { kept, logOf, runDocument } from './kept.ts'
import { secretsSuite } from './secrets-suite.ts'
import { openStack, type Stack } from './stack.ts'

const SLOTS = 3

const open = async (options: Parameters<typeof openStack>[0]): Promise<Stack | { readonly skip: string }> => {
  const stack = await openStack(options)
  if (!('skip' in stack)) after(() => stack[Symbol.asyncDispose]())
  return stack
}

const pair = await open({ apis: 2, workers: 2, env: { WORKER_CONCURRENCY: String(SLOTS) } })

describe('gateway over a socket, two APIs and two workers', { skip: 'skip' in pair ? pair.skip : false }, () => {
  if ('skip' in pair) return
  channelSuite(pair, 'none')
  secretsSuite(pair)

  test('six sessions at once, shared by the workers, end once each', LIMIT, async () => {
    const runs = await Promise.all(
      Array.from({ length: 2 * SLOTS }, (_, index) =>
        generate(pair.urls[index % 2] ?? '', { session_id: pair.sessionId(`six-${index}`), prompt: HOLD }),
      ),
    )
    const running = async () => {
      const documents = await Promise.all(runs.map((run) => runDocument(pair, run)))
      return documents.every((document) => document?.state === 'running') && documents
    }
    const documents = await waitFor(running, { what: 'all six to be at work', timeoutMs: 60_000 })
    const owners = Map.groupBy(documents, (document) => document?.owner ?? '')
    assert.deepEqual([...owners.values()].map((own) => own.length).sort(), [SLOTS, SLOTS])
    assert.equal((await pair.containers()).length, runs.length)
    for (const run of runs) await letGo(pair, run)
    for (const run of runs) {
      assert.equal((await kept(pair, run)).data.cause, 'completed')
      const starts: SessionEvent[] = (await logOf(pair, run)).filter(({ event_type }) => event_type === 'agent_start')
      assert.equal(starts.length, 1)
      assert.equal((await runDocument(pair, run))?.attempt, 1)
    }
  })

  test('a session completes, and its container has nothing but loopback and the socket', LIMIT, async () => {
    const prompt = [
      "bash tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' '",
      "bash curl -sS -w 'status %{http_code}' -o /dev/null --unix-socket /run/mgx/gw.sock http://gw/v1/events",
      'Done',
    ].join('\n')
    const run = await generate(pair.urls[0], { session_id: pair.sessionId('alone'), prompt })
    assert.equal((await kept(pair, run)).data.cause, 'completed')
    const outputs = (await logOf(pair, run)).flatMap((event) =>
      event.event_type === 'tool_end' ? [event.data.output] : [],
    )
    assert.match(outputs[0] ?? '', /^lo\n\(exit code 0/)
    assert.match(outputs[1] ?? '', /^status 401/, 'the socket wants the token of the run')
  })
})
