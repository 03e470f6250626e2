import assert from 'node:assert/strict'
import { connect, createServer, type Socket } from 'node:net'
import { type TestContext, test } from 'node:test'
import { newToken } from '#scheduler/run-token.ts'
import type { EventLog } from '#store/event-log.ts'
import { freePort, waitFor } from '../helpers.ts'
import { openHttpTarget } from '../services/http-target.ts'
import { connectTo, egressOf, INTERNET, readAll } from './egress-world.ts'
import { call, newRun, open, sent } from './gateway-world.ts'

const refusalsOf = async (events: EventLog, sessionId: string) =>
  (await events.list(sessionId, { after: 0, limit: 1000 })).flatMap((event) =>
    event.event_type === 'egress_refused' ? [event.data] : [],
  )

/** A server for bytes, on the address that stands for the internet. */
const openBytes = async (t: TestContext, onSocket: (socket: Socket) => void) => {
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => undefined)
    socket.once('close', () => sockets.delete(socket))
    onSocket(socket)
  })
  await new Promise<void>((resolve) => server.listen(0, INTERNET, resolve))
  t.after(async () => {
    for (const socket of sockets) socket.destroy()
    await new Promise((resolve) => server.close(resolve))
  })
  const address = server.address()
  const port = address !== null && typeof address === 'object' ? address.port : 0
  return { authority: `${INTERNET}:${port}`, sockets }
}

for (const tcp of [false, true]) {
  test(`CONNECT over ${tcp ? 'TCP' : 'a unix socket'}: an allowed target is a tunnel, any other a 403 and an event`, async (t) => {
    const target = await openHttpTarget(t)
    const { serve, events } = await open(t, { tcp, egress: egressOf(target.authority) })
    const one = await serve()
    const { status, socket } = await connectTo(one.client, target.authority)
    assert.equal(status, 200)
    socket.end(`GET /x HTTP/1.1\r\nhost: ${target.authority}\r\nconnection: close\r\n\r\n`)
    assert.match(await readAll(socket), /^HTTP\/1\.1 200 OK[\s\S]*hello from 127\.0\.0\.2:\d+ \/x\n$/)
    assert.deepEqual(await refusalsOf(events, one.run.session_id), [])

    const refused = await connectTo(one.client, 'example.com:443')
    assert.equal(refused.status, 403)
    assert.match(refused.says, /example\.com:443 is not in this run's egress policy\. AGENT_EGRESS .* options\.egress/)
    assert.equal(await readAll(refused.socket), `${refused.says}\n`)
    const [event, ...more] = await refusalsOf(events, one.run.session_id)
    const expected = { host: 'example.com', port: 443, reason: 'not_allowed', message: refused.says, count: 1 }
    assert.deepEqual([event, more], [expected, []], 'stored before it was answered')
  })
}

test('without the token of the run nothing is opened, and the runner is told to come later', async (t) => {
  const target = await openHttpTarget(t)
  const { serve } = await open(t, { egress: egressOf(target.authority) })
  const { client } = await serve()
  assert.equal((await connectTo({ ...client, token: 'x' }, target.authority)).status, 503)
  assert.deepEqual(target.seen, [])
})

test("a run's own policy narrows the installation's, and what cannot be read lets nothing through", async (t) => {
  const target = await openHttpTarget(t)
  const { gateway, dir } = await open(t, { egress: egressOf(`all, ${target.authority}`) })
  const status = async (egress: string | string[]) => {
    const token = newToken()
    const run = { ...newRun(token), options: { egress } }
    const socketPath = `${dir}/n.sock`
    await using _serving = await gateway.serve(run, socketPath)
    const connected = await connectTo({ socketPath, token }, target.authority)
    connected.socket.destroy()
    return connected.status
  }
  assert.equal(await status([target.authority, 'example.com']), 200)
  assert.equal(await status('none'), 403)
  assert.equal(await status('all'), 403, 'all is 80 and 443')
  assert.equal(await status('registries'), 403)
  assert.equal(await status('no such set'), 403)
})

test('private, loopback and metadata addresses are refused under any policy and in any spelling', async (t) => {
  const { serve, events } = await open(t, { egress: egressOf('all, localhost:80, 10.0.0.1:6379') })
  const { client, run } = await serve()
  const closed = ['127.0.0.1:80', '2130706433:80', '0x7f.1:443', 'localhost:80', '10.0.0.1:6379', '[::1]:443']
  for (const authority of [...closed, '[::ffff:7f00:1]:443', '[64:ff9b::a00:1]:443', '192.168.0.1:443']) {
    const { status, says } = await connectTo(client, authority)
    assert.equal(status, 403, authority)
    assert.match(says, /no public address.*EGRESS_ALLOW_PRIVATE/, authority)
  }
  for (const authority of [
    '169.254.169.254:80',
    '[fd00:ec2::254]:80',
    'metadata.google.internal:80',
    '100.100.100.200:80',
  ]) {
    const { status, says } = await connectTo(client, authority)
    assert.deepEqual([status, /metadata service/.test(says)], [403, true], authority)
  }
  const reasons = (await refusalsOf(events, run.session_id)).map(({ reason }) => reason)
  assert.deepEqual(new Set(reasons), new Set(['private_address', 'metadata_address']))
})

test('a target that is none, has no address or does not answer is said to be so, and is no refusal', async (t) => {
  const closed = `${INTERNET}:${await freePort(INTERNET)}`
  const { serve, events } = await open(t, { egress: egressOf(`${closed}, nowhere.invalid`) })
  const { client, run } = await serve()
  assert.equal((await connectTo(client, 'example.com')).status, 400)
  const unknown = await connectTo(client, 'nowhere.invalid:443')
  assert.equal(unknown.status, 502)
  assert.match(unknown.says, /nowhere\.invalid has no address/)
  const silent = await connectTo(client, closed)
  assert.equal(silent.status, 502)
  assert.match(silent.says, /cannot be reached \(ECONNREFUSED\)/)
  assert.deepEqual(await refusalsOf(events, run.session_id), [])
})

test('a port that the policy does not open is refused as that', async (t) => {
  const { serve } = await open(t, { egress: egressOf('all, example.com') })
  const { client } = await serve()
  assert.match((await connectTo(client, 'example.com:22')).says, /has a port that its egress policy does not open/)
})

test('one target is one event, and one more at each power of ten; of many targets fifty are named', async (t) => {
  const { serve, events } = await open(t, { egress: egressOf('none') })
  const { client, run } = await serve()
  for (let i = 0; i < 12; i += 1) (await connectTo(client, 'again.example.com:443')).socket.destroy()
  const counts = (await refusalsOf(events, run.session_id)).map(({ host, count }) => [host, count])
  assert.deepEqual(counts, [
    ['again.example.com', 1],
    ['again.example.com', 10],
  ])
  for (let i = 0; i < 60; i += 1) (await connectTo(client, `h${i}.example.com:443`)).socket.destroy()
  const hosts = new Set((await refusalsOf(events, run.session_id)).map(({ host }) => host))
  assert.equal(hosts.size, 50)
})

test('another worker that takes the run over writes no refusal twice, and nobody writes behind finish', async (t) => {
  const { serve, events, gateway, dir } = await open(t, { egress: egressOf('none') })
  const one = await serve()
  await connectTo(one.client, 'a.example.com:443')
  await one.serving[Symbol.asyncDispose]()
  const socketPath = `${dir}/again.sock`
  await using _again = await gateway.serve(one.run, socketPath)
  const client = { socketPath, token: one.token }
  await connectTo(client, 'a.example.com:443')
  assert.equal((await refusalsOf(events, one.run.session_id)).length, 1)
  const finish = { status: 'success', cause: 'completed', synthetic: false }
  const body = { events: [sent(one.run, 1, { _id: `${one.run.run_id}:finish`, event_type: 'finish', data: finish })] }
  assert.equal((await call(client, 'POST', '/v1/events', body)).status, 200)
  assert.equal((await connectTo(client, 'b.example.com:443')).status, 403)
  const log = await events.list(one.run.session_id, { after: 0, limit: 100 })
  assert.equal(log.at(-1)?.event_type, 'finish')
})

test('a refusal is in the log before the command hears of it, but for a store that does not answer', async (t) => {
  const stored: string[] = []
  const { promise: never } = Promise.withResolvers<never>()
  let away = false
  const slow = (log: EventLog): EventLog => ({
    ...log,
    append: async (...args) => {
      if (away) return never
      await new Promise((resolve) => setTimeout(resolve, 200))
      const result = await log.append(...args)
      stored.push(...args[1].map(({ event_type }) => event_type))
      return result
    },
  })
  const { serve } = await open(t, { egress: egressOf('none'), events: slow })
  const { client } = await serve()
  assert.equal((await connectTo(client, 'a.example.com:443')).status, 403)
  assert.deepEqual(stored, ['egress_refused'])
  away = true
  assert.equal((await connectTo(client, 'b.example.com:443')).status, 403)
})

test('a runner cannot write refusals of its own', async (t) => {
  const { serve } = await open(t)
  const { client, run } = await serve()
  const answer = await call(client, 'POST', '/v1/events', { events: [sent(run, 1, { event_type: 'egress_refused' })] })
  assert.deepEqual([answer.status, /does not write egress_refused/.test(answer.body)], [400, true])
})

test('bytes wait for the slower side, and what was sent before the end arrives', async (t) => {
  const size = 64 * 1024 * 1024
  let written = 0
  const target = await openBytes(t, (socket) => {
    const part = Buffer.alloc(64 * 1024)
    const go = () => {
      while (written < size) {
        written += part.length
        if (!socket.write(part)) return
      }
      socket.end()
    }
    socket.on('drain', go)
    go()
  })
  const { serve } = await open(t, { egress: egressOf(target.authority) })
  const { client } = await serve()
  const { socket } = await connectTo(client, target.authority)
  socket.pause()
  let before = -1
  await waitFor(
    () => {
      const still = written === before && written > 0
      before = written
      return still
    },
    { everyMs: 300, what: 'the sender to wait' },
  )
  assert.ok(written < size, `${written} bytes were taken although nobody reads`)
  let read = 0
  for await (const part of socket) read += (part as Buffer).length
  assert.equal(read, size)
})

test('a run cannot take all connections of its worker: its socket has a bound of its own', async (t) => {
  const { serve } = await open(t)
  const [one, two] = [await serve(), await serve()]
  const held = Array.from({ length: 300 }, () => connect(one.socketPath).on('error', () => undefined))
  t.after(() => held.forEach((socket) => void socket.destroy()))
  await waitFor(() => held.filter(({ destroyed }) => destroyed).length >= 300 - 256, { what: 'the rest to be cut' })
  assert.equal((await call(two.client, 'GET', '/v1/events')).status, 200)
})

test('one run has a bounded number of connections, and its end ends them all', async (t) => {
  const target = await openBytes(t, () => undefined)
  const { serve } = await open(t, { egress: egressOf(target.authority) })
  const { client, serving } = await serve()
  const held = await Promise.all(Array.from({ length: 128 }, () => connectTo(client, target.authority)))
  assert.ok(held.every(({ status }) => status === 200))
  const more = await connectTo(client, target.authority)
  assert.deepEqual([more.status, /too many at once/.test(more.says)], [429, true])
  held[0]?.socket.destroy()
  await waitFor(() => target.sockets.size === 127, { what: 'the other side to be closed, too' })
  assert.equal((await connectTo(client, target.authority)).status, 200)
  const ended = held.slice(1).map(({ socket }) => new Promise((resolve) => socket.once('close', resolve).resume()))
  await serving[Symbol.asyncDispose]()
  await Promise.all(ended)
  await waitFor(() => target.sockets.size === 0, { what: 'every connection to the target to be closed' })
})
