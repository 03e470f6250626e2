import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { test } from 'node:test'
import { inspect } from 'node:util'
import { connectDocker } from '#scheduler/engines/docker-daemon.ts'

/** What docker-modem makes of a request before it sends it. */
const asModemWritesIt = (value: unknown): string => inspect(value, { showHidden: true, depth: null })

test('a request is not written out with every connection that is open, however many there are', async (t) => {
  const server = createServer((_, res) => res.writeHead(200).flushHeaders())
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const { port } = server.address() as AddressInfo
  t.after(() => server.closeAllConnections())
  t.after(() => server.close())
  const docker = connectDocker({ protocol: 'http', host: '127.0.0.1', port })
  await Promise.all(Array.from({ length: 5 }, () => docker.getEvents()))
  const { agent } = docker.modem as unknown as { agent: object }
  assert.equal(Object.values((agent as { sockets: Record<string, unknown[]> }).sockets).flat().length, 5)
  assert.equal(asModemWritesIt({ path: '/version', agent }), "{ path: '/version', agent: Agent }")
})
