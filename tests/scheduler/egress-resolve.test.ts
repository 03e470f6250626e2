import assert from 'node:assert/strict'
import { test } from 'node:test'
import { inHosts, resolveName } from '#scheduler/egress-resolve.ts'

const HOSTS = `# comment
127.0.0.1\tlocalhost
::1  localhost ip6-localhost # more
10.0.0.7 Nexus.Corp nexus
nonsense here
`

test('the hosts file is read as resolvers read it', () => {
  const of = (host: string) => inHosts(HOSTS, host).map(({ address, family }) => `${address} ${family}`)
  assert.deepEqual(of('localhost'), ['127.0.0.1 4', '::1 6'])
  assert.deepEqual(of('nexus.corp'), ['10.0.0.7 4'])
  assert.deepEqual(of('nexus'), ['10.0.0.7 4'])
  for (const none of ['here', 'more', 'comment', 'example.com']) assert.deepEqual(of(none), [])
})

test('an address is itself, this machine is known by its hosts file, and a name that nobody has is an error', async () => {
  assert.deepEqual(await resolveName('203.0.113.7'), [{ address: '203.0.113.7', family: 4 }])
  assert.deepEqual(await resolveName('2001:db8::1'), [{ address: '2001:db8::1', family: 6 }])
  assert.ok((await resolveName('localhost')).some(({ address }) => address === '127.0.0.1' || address === '::1'))
  await assert.rejects(resolveName('nowhere.invalid'), ({ code }: NodeJS.ErrnoException) => code !== undefined)
})
