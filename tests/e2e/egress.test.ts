import assert from 'node:assert/strict'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'
import type { SessionEvent } from '#contracts/events.ts'
import { openHttpTarget } from '../services/http-target.ts'
import { LIMIT } from './channel-suite.ts'
import { generate, postGenerate } from './generate.ts'
import { kept, logOf, runDocument } from './kept.ts'
import { openStack } from './stack.ts'

const target = await openHttpTarget({ after })
const url = `http://${target.authority}`

const stack = await openStack({
  env: { AGENT_EGRESS: `${target.authority}, registries`, EGRESS_ALLOW_PRIVATE: target.host },
})

const outputs = (events: readonly SessionEvent[]): string[] =>
  events.flatMap((event) => (event.event_type === 'tool_end' ? [event.data.output] : []))

describe('egress of containers', { skip: 'skip' in stack ? stack.skip : false }, () => {
  if ('skip' in stack) return
  after(() => stack[Symbol.asyncDispose]())

  /** Runs these commands, one each, and answers with what each of them printed, and the log. */
  const commands = async (name: string, lines: readonly string[], options: object = {}) => {
    const session_id = stack.sessionId(name)
    const prompt = `${lines.map((line) => `bash ${line}`).join('\n')}\nDone`
    const run = await generate(stack.urls[0], { session_id, prompt, options })
    assert.equal((await kept(stack, run)).data.cause, 'completed')
    const log = await logOf(stack, run)
    return { run, said: outputs(log), log }
  }

  test('what is allowed is reached', LIMIT, async () => {
    const py = `python3 -c 'import urllib.request as u; print(u.urlopen("${url}/python").read().decode())'`
    const node = `node -e 'fetch("${url}/node").then((r) => r.text()).then(console.log)'`
    const { said } = await commands('reached', [`curl -sS ${url}/curl`, `curl -sSp ${url}/tunnel`, py, node, 'env | grep -i proxy'])
    console.log(said)
  })
})
