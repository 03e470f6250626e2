import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { createServer, request } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import { type TestContext, test } from 'node:test'
import { promisify } from 'node:util'
import { openEgressRelay } from '#agent-runner/egress-relay.ts'
import { commandEnv } from '#agent-runner/tools/command-env.ts'
import { sendNotServed } from '#scheduler/egress.ts'
import { type GatewayListener, listenUnix } from '#scheduler/gateway-listen.ts'
import { waitFor } from '../helpers.ts'
import { egressOf } from '../scheduler/egress-world.ts'
import { open } from '../scheduler/gateway-world.ts'
import { openHttpTarget } from '../services/http-target.ts'

const exec = promisify(execFile)

/** A relay whose gateway has this policy, and a shell whose commands find it. */
const openWorld = async (t: TestContext, policy: string, tcp = false) => {
  const { serve, dir, gateway } = await open(t, { egress: egressOf(policy), tcp })
  const one = await serve()
  const { socketPath, port } = one.client
  const url = socketPath === undefined ? `http://127.0.0.1:${port}` : `unix:${socketPath}`
  const relay = await openEgressRelay({ url, token: one.token })
  t.after(() => relay[Symbol.asyncDispose]())
  const shell = async (command: string) => {
    const env = { ...commandEnv({ PATH: process.env.PATH ?? '', HOME: dir }), ...relay.env }
    const { stdout, stderr } = await exec('/bin/bash', ['-c', command], { env, cwd: dir }).catch((error) => error)
    return `${stdout}${stderr}`
  }
  return { ...one, dir, gateway, relay, shell }
}

const NODE = `${process.execPath} -e`

for (const tcp of [false, true]) {
  test(`commands reach what is allowed, by request and by tunnel, over ${tcp ? 'TCP' : 'a socket'}`, async (t) => {
    const target = await openHttpTarget(t)
    const { shell, relay, token } = await openWorld(t, target.authority, tcp)
    const url = `http://${target.authority}`
    assert.equal(await shell(`curl -sS ${url}/curl?a=1`), `hello from ${target.authority} /curl?a=1\n`)
    assert.match(await shell(`curl -sS -p ${url}/tunnel`), /^hello from 127\.0\.0\.2:\d+ \/tunnel$/m)
    const fetched = await shell(`${NODE} 'fetch("${url}/node").then((r) => r.text()).then(console.log)'`)
    assert.match(fetched, /^hello from 127\.0\.0\.2:\d+ \/node$/m)
    assert.equal(relay.refused().length, 0)
    for (const { headers } of target.seen) assert.ok(!JSON.stringify(headers).includes(token), 'the token stays inside')
    assert.ok(target.seen.every(({ headers }) => headers['proxy-authorization'] === undefined))
  })
}

test('a body goes out and comes back as it is, and headers of the connection stay behind', async (t) => {
  const target = await openHttpTarget(t, {
    answer: (message, response) => {
      // Not an error: curl stops sending when one comes before it has sent everything, and this answer would never end.
      response.writeHead(218, 'Short And Stout', { 'x-one': ['a', 'b'], 'content-type': 'x/y' })
      message.pipe(response)
    },
  })
  const { shell } = await openWorld(t, target.authority)
  const said = await shell(
    `head -c 300000 /dev/zero | tr '\\0' x | curl -sSi -X PUT -H 'authorization: Basic abc' -T - http://${target.authority}/put | tail -c 300200`,
  )
  assert.match(said, /218 Short And Stout[\s\S]*x-one: a[\s\S]*x-one: b/)
  assert.ok(said.endsWith('x'.repeat(300_000)))
  const [put] = target.seen
  assert.deepEqual(
    [put?.method, put?.headers.authorization, put?.headers['proxy-connection']],
    ['PUT', 'Basic abc', undefined],
  )
})

test('a refusal reaches the command in words, and the model beside it', async (t) => {
  const { shell, relay } = await openWorld(t, 'registries')
  assert.match(
    await shell('curl -sS http://example.com/'),
    /^mgx egress: example\.com:80 is not in this run's egress policy/,
  )
  assert.match(await shell('curl -sSv https://example.com/ 2>&1'), /403 mgx egress: example\.com:443 is not in/)
  const node = await shell(`${NODE} 'fetch("https://example.com").catch((e) => console.log(String(e.cause)))'`)
  assert.match(node, /Error/)
  const said = relay.refused()
  assert.equal(said.length, 2)
  assert.match(said.join('\n'), /example\.com:80 is not[\s\S]*example\.com:443 is not/)
  assert.deepEqual(relay.refused(), [], 'said once')
})

test('what the other side says first, with the very answer of the gateway, arrives', async (t) => {
  const gateway = createServer()
  gateway.on('connect', (_request, socket) => socket.end('HTTP/1.1 200 Connection Established\r\n\r\n220 early\r\n'))
  await new Promise<void>((resolve) => gateway.listen(0, '127.0.0.1', resolve))
  t.after(() => gateway.close())
  const { port } = gateway.address() as AddressInfo
  await using relay = await openEgressRelay({ url: `http://127.0.0.1:${port}`, token: 't' })
  const client = connect(Number(new URL(relay.env.http_proxy ?? '').port), '127.0.0.1')
  client.write('CONNECT mail.example.com:25 HTTP/1.1\r\nhost: mail.example.com:25\r\n\r\n')
  let text = ''
  for await (const part of client) text += String(part)
  assert.equal(text, 'HTTP/1.1 200 Connection Established\r\n\r\n220 early\r\n')
})

test('what a command itself has started is reached without the proxy', async (t) => {
  const own = await openHttpTarget(t, { host: '127.0.0.1' })
  const { shell } = await openWorld(t, 'none')
  assert.match(await shell(`curl -sS http://127.0.0.1:${own.port}/own`), /^hello/)
  assert.match(await shell(`curl -sS http://localhost:${own.port}/own`), /^hello/)
})

test('a gateway that is away is waited for: another worker takes the run over', async (t) => {
  const target = await openHttpTarget(t)
  const { shell, serving, gateway, run, socketPath } = await openWorld(t, target.authority)
  assert.match(await shell(`curl -sS http://${target.authority}/before`), /^hello/)
  await serving[Symbol.asyncDispose]()
  const tries: string[] = []
  const connect: GatewayListener['connect'] = ({ url = '' }, client) => {
    tries.push(url)
    sendNotServed(client, 'not served here')
  }
  await using _stranger = await listenUnix({ request: (_, response) => void response.end(), connect }, socketPath)
  const asked = shell(`curl -sS http://${target.authority}/between`)
  await waitFor(() => tries.length > 0, { what: 'the first try' })
  await using _next = await gateway.serve(run, socketPath)
  assert.match(await asked, /^hello/)
})

test('a request that no host can be made of ends itself and nothing else', async (t) => {
  const target = await openHttpTarget(t)
  const { relay, shell } = await openWorld(t, target.authority)
  const { port } = new URL(relay.env.http_proxy ?? '')
  for (const bad of ['ex\u00e9.com:443', 'a b:443', '\u0001:443', '/etc/passwd', ':']) {
    const client = connect(Number(port), '127.0.0.1')
    client.on('error', () => undefined)
    client.end(Buffer.from(`CONNECT ${bad} HTTP/1.1\r\nhost: x\r\n\r\n`, 'latin1'))
    await new Promise((resolve) => client.resume().once('close', resolve))
  }
  assert.match(await shell(`curl -sS http://${target.authority}/after`), /^hello/)
})

test('what is no proxy request is told so; disposing ends what is open', async (t) => {
  const held = await openHttpTarget(t, { answer: () => undefined })
  const { relay, shell } = await openWorld(t, held.authority)
  const address = relay.env.http_proxy ?? ''
  assert.match(await shell(`curl -sS --noproxy '*' ${address}/x`), /This is the proxy of an mgx agent/)
  assert.match(await shell(`curl -sS ftp://example.com/ -x ${address}`), /This is the proxy of an mgx agent/)
  const asked = shell(`curl -sS http://${held.authority}/never`)
  await waitFor(() => held.seen.length > 0, { what: 'the request to arrive' })
  await relay[Symbol.asyncDispose]()
  assert.match(await asked, /curl: \(\d+\)/)
  const refused = await new Promise((done) => request(address).on('error', done).end())
  assert.match(String(refused), /ECONNREFUSED/)
})
