import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { after, describe, test } from 'node:test'
import type Docker from 'dockerode'
import { freePort } from '../helpers.ts'
import { openDocker } from '../services/docker.ts'
import { openHttpTarget } from '../services/http-target.ts'
import { LIMIT } from './channel-suite.ts'
import { generate } from './generate.ts'
import { kept, logOf } from './kept.ts'
import { openStack, type Stack } from './stack.ts'

/** A network that leads nowhere but to this machine, as operations.md advises for the gateway over TCP. */
const openInternal = async (docker: Docker): Promise<{ readonly name: string; readonly address: string }> => {
  const name = `mgx-test-${randomUUID().slice(0, 8)}`
  const network = await docker.createNetwork({ Name: name, Internal: true })
  after(() => network.remove())
  const { IPAM } = (await network.inspect()) as Docker.NetworkInspectInfo
  return { name, address: IPAM?.Config?.[0]?.Gateway ?? '' }
}

const internet = await openHttpTarget({ after: (close: unknown) => after(close as () => void) })

const open = async (): Promise<Stack | { readonly skip: string }> => {
  const found = await openDocker()
  if ('skip' in found) return found
  const { name, address } = await openInternal(found.docker)
  const port = String(await freePort(address))
  const gateway = { GATEWAY_TCP_HOST: address, GATEWAY_TCP_PORT: port, GATEWAY_TCP_URL: `http://${address}:${port}` }
  const stack = await openStack({
    env: { ...gateway, AGENT_NETWORK: name, AGENT_EGRESS: internet.authority, EGRESS_ALLOW_PRIVATE: internet.host },
  })
  // The network goes after the containers on it: hooks run in the order in which they were made.
  if (!('skip' in stack)) test.after(() => stack[Symbol.asyncDispose]())
  return stack
}

const stack = await open()

describe('egress over TCP, on an internal network', { skip: 'skip' in stack ? stack.skip : false }, () => {
  if ('skip' in stack) return

  test('the proxy is the way out, and the network is none', LIMIT, async () => {
    const prompt = [
      `bash curl -sS http://${internet.authority}/x`,
      'bash curl -sS http://example.com/',
      'bash for to in 8.8.8.8/53 169.254.169.254/80; do timeout 2 bash -c "exec 3<>/dev/tcp/$to" 2>/dev/null && echo open || echo closed; done',
      'Done',
    ].join('\n')
    const run = await generate(stack.urls[0], { session_id: stack.sessionId('tcp'), prompt })
    assert.equal((await kept(stack, run)).data.cause, 'completed')
    const log = await logOf(stack, run)
    const said = log.flatMap((event) => (event.event_type === 'tool_end' ? [event.data.output] : []))
    assert.match(said[0] ?? '', /^hello from 127\.0\.0\.2/)
    assert.match(said[1] ?? '', /^mgx egress: example\.com:80 is not in this run's egress policy/)
    assert.match(said[2] ?? '', /^closed\nclosed\n/)
    assert.equal(log.filter(({ event_type }) => event_type === 'egress_refused').length, 1)
  })
})
