import assert from 'node:assert/strict'
import type { LookupAddress } from 'node:dns'
import { BlockList } from 'node:net'
import { networkInterfaces } from 'node:os'
import { PassThrough } from 'node:stream'
import { test } from 'node:test'
import { openTunnel } from '#scheduler/egress.ts'
import { createEgressGuard, type EgressConfig } from '#scheduler/egress-guard.ts'
import { waitFor } from '../helpers.ts'
import { openHttpTarget } from '../services/http-target.ts'
import { egressOf, INTERNET } from './egress-world.ts'

/** Addresses of this machine, as the guard is told. */
const OWN = ['127.0.0.1', '9.9.9.9']

const at = (...addresses: string[]): LookupAddress[] =>
  addresses.map((address) => ({ address, family: address.includes(':') ? 6 : 4 }))

/** A guard with names of its own, and which of them were asked for. */
const guardWith = (names: Readonly<Record<string, LookupAddress[]>>, config: EgressConfig = egressOf('all')) => {
  const asked: string[] = []
  const resolve = async (host: string) => {
    asked.push(host)
    const found = names[host]
    if (found === undefined) throw Object.assign(new Error('no such name'), { code: 'ENOTFOUND' })
    return found
  }
  const guard = createEgressGuard(config, { resolve, isOwn: (address) => OWN.includes(address) })
  const decide = async (host: string, port = 443) => {
    const decision = await guard(config.policy, { host, port })
    return decision.kind === 'connect'
      ? decision.addresses.map(({ address }) => address)
      : decision.kind === 'refused'
        ? decision.reason
        : decision.kind
  }
  return { guard, decide, asked }
}

test('a name is judged by its addresses: only the public ones are connected to', async () => {
  const { decide } = guardWith({
    public: at('8.8.8.8', '2606:4700::1111'),
    private: at('10.0.0.1', 'fd00::1'),
    mixed: at('127.0.0.1', '8.8.8.8', '169.254.169.254'),
    cloud: at('169.254.169.254'),
    nat64: at('64:ff9b::808:808', '64:ff9b::a00:1'),
    nothing: [],
  })
  assert.deepEqual(await decide('public'), ['8.8.8.8', '2606:4700::1111'])
  assert.equal(await decide('private'), 'private_address')
  assert.deepEqual(await decide('mixed'), ['8.8.8.8'])
  assert.equal(await decide('cloud'), 'metadata_address')
  assert.deepEqual(await decide('nat64'), ['64:ff9b::808:808'])
  assert.equal(await decide('nothing'), 'private_address')
  assert.equal(await decide('unknown'), 'unknown')
})

test('a name that the policy does not let pass is not asked for', async () => {
  const { decide, asked } = guardWith({}, egressOf('pypi.org'))
  assert.equal(await decide('secret.evil.example'), 'not_allowed')
  assert.equal(await decide('pypi.org', 22), 'port_not_allowed')
  assert.equal(await decide('metadata.google.internal', 80), 'metadata_address')
  assert.deepEqual(asked, [])
})

test('a name that changes its address behind the look gains nothing: it is asked for once, and that address is used', async (t) => {
  const outside = await openHttpTarget(t)
  const inside = await openHttpTarget(t, { host: '127.0.0.3' })
  const config = egressOf(`rebind.example:${outside.port}`)
  let asked = 0
  const guard = createEgressGuard(config, {
    resolve: async () => at(asked++ === 0 ? INTERNET : '127.0.0.3'),
    isOwn: () => false,
  })
  const client = new PassThrough()
  const answered: Buffer[] = []
  client.write = (part: Buffer | string) => answered.push(Buffer.from(part)) > 0
  const run = {
    policy: config.policy,
    refusals: { record: async () => undefined },
    signal: new AbortController().signal,
    tunnels: new Set<PassThrough>(),
  }
  const head = Buffer.from('GET /x HTTP/1.1\r\nhost: rebind\r\nconnection: close\r\n\r\n')
  void openTunnel(guard, run, { url: `rebind.example:${outside.port}` }, client, head)
  await waitFor(() => outside.seen.length === 1, { what: 'the address that was looked at to be used' })
  client.destroy()
  assert.deepEqual([asked, inside.seen.length], [1, 0])
})

test('our own services are closed under every name and address, also where the operator opened their range', async () => {
  const allowPrivate = new BlockList()
  allowPrivate.addSubnet('10.0.0.0', 8)
  allowPrivate.addSubnet('127.0.0.0', 8)
  const ours = [
    { host: 'db', port: 27_017 },
    { host: '10.0.0.9', port: 6379 },
  ]
  const config = egressOf('db:27017, alias:27017, alias:8081, 10.0.0.9:6379, queue:6379, local:8000, local:8081', {
    allowPrivate,
    ours,
    ownPorts: [8000],
  })
  const names = { db: at('10.0.0.8'), alias: at('10.0.0.8'), queue: at('10.0.0.9'), local: at('127.0.0.1') }
  const { decide } = guardWith({ ...names, '10.0.0.9': at('10.0.0.9') }, config)
  assert.equal(await decide('db', 27_017), 'own_service')
  assert.equal(await decide('alias', 27_017), 'own_service')
  assert.equal(await decide('10.0.0.9', 6379), 'own_service')
  assert.equal(await decide('queue', 6379), 'own_service')
  assert.equal(await decide('local', 8000), 'own_service')
  assert.deepEqual(await decide('alias', 8081), ['10.0.0.8'], 'another service of that machine')
  assert.deepEqual(await decide('local', 8081), ['127.0.0.1'])
})

test("the worker's own machine is closed by whatever address it has, also a public one, unless the operator opens it", async () => {
  const names = { me: at('9.9.9.9') }
  assert.equal(await guardWith(names).decide('me'), 'private_address')
  const opened = new BlockList()
  opened.addAddress('9.9.9.9')
  const { decide } = guardWith(names, egressOf('all, me:8000', { allowPrivate: opened, ownPorts: [8000] }))
  assert.deepEqual(await decide('me'), ['9.9.9.9'])
  assert.equal(await decide('me', 8000), 'own_service')
  const real = createEgressGuard(egressOf('all'))
  for (const { address } of Object.values(networkInterfaces()).flatMap((all) => all ?? [])) {
    const { kind } = await real([{ kind: 'any' }], { host: address.replace(/%.*/, ''), port: 80 })
    assert.equal(kind, 'refused', address)
  }
})
