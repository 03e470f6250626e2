import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { LIMIT } from './channel-suite.ts'
import { generate } from './generate.ts'
import { kept, logOf } from './kept.ts'
import type { Stack } from './stack.ts'

/**
 * What a curious model would try. It goes to a file as it is: from what goes into events the runner takes out the secrets that
 * it knows, and a test of events alone could not tell what was out of reach from what was taken out.
 */
const LOOT = [
  'bash env > loot-env; cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline > loot-proc 2> loot-refused',
  'bash cat /run/mgx/* /run/secrets/* /etc/environment > loot-run 2>&1; cat loot-env',
  'bash cat /proc/1/environ; cat /proc/$PPID/environ',
].join('\n')

const FILES = ['loot-env', 'loot-proc', 'loot-run', 'loot-refused']

const lootOf = async (stack: Stack): Promise<{ readonly loot: string; readonly events: string }> => {
  const session_id = stack.sessionId('thief')
  assert.equal((await kept(stack, await generate(stack.urls[0], { session_id, prompt: LOOT }))).data.cause, 'completed')
  const files = await Promise.all(FILES.map((name) => readFile(join(stack.root, session_id, name), 'utf8')))
  return { loot: files.join('\n'), events: JSON.stringify(await logOf(stack, { session_id })) }
}

/** What no command of an agent may come by, in this channel. */
export const secretsSuite = (stack: Stack): void => {
  test('commands of the agent see no key and no address of a database', LIMIT, async () => {
    const { loot, events } = await lootOf(stack)
    assert.match(loot, /HOME=\/home\/agent/, 'the commands ran')
    assert.match(loot, /\/proc\/1\/environ: Permission denied/)
    assert.match(events, /\/proc\/1\/environ: Permission denied/)
    const ports = [stack.mongo.port, stack.redis.port].map((port) => `:${port}`)
    for (const secret of [stack.modelKey, 'mongodb:', 'redis:', 'OPENAI', 'e2e-secret', ...ports]) {
      assert.ok(!loot.includes(secret), `${secret} was within reach of a command`)
      assert.ok(!events.includes(secret), `${secret} is in the log`)
    }
  })
}
