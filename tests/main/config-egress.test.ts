import assert from 'node:assert/strict'
import { test } from 'node:test'
import { apiConfig, devConfig } from '#main/config.ts'
import { onlyLine, ROOT, SERVICES, worker } from './config-helpers.ts'

test('the egress of the gateway: its policy, private ranges, and services that no policy opens', () => {
  const { worker: config, gateway } = worker({
    AGENT_EGRESS: 'pypi.org, nexus.corp:8081',
    EGRESS_ALLOW_PRIVATE: '10.20.0.0/16, fd12::/16',
    MONGODB_URL: 'mongodb://u:p@one,two:27018,[::1]:27019/?replicaSet=rs0',
    REDIS_URL: 'rediss://:p@queue',
  })
  assert.deepEqual(config.egress, [
    { kind: 'host', host: 'pypi.org' },
    { kind: 'host', host: 'nexus.corp', port: 8081 },
  ])
  assert.deepEqual(gateway.egress.policy, config.egress)
  assert.deepEqual(gateway.egress.ours, [
    { host: 'one', port: 27_017 },
    { host: 'two', port: 27_018 },
    { host: '::1', port: 27_019 },
    { host: 'queue', port: 6379 },
  ])
  assert.ok(gateway.egress.allowPrivate.check('10.20.1.1') && !gateway.egress.allowPrivate.check('10.21.1.1'))
  assert.deepEqual(devConfig({ PORT: '8123', METRICS_PORT: '9090' }, ROOT).egress.ownPorts, [8123, 9090])
  assert.deepEqual(worker({ METRICS_PORT: '9090' }).gateway.egress.ownPorts, [9090])
})

test('an egress policy that is none, and one that nothing would keep, are refused', () => {
  const lineOf = (env: Readonly<Record<string, string>>) => onlyLine(() => worker(env))
  assert.match(lineOf({ AGENT_EGRESS: 'registrys' }), /^AGENT_EGRESS=registrys: "registrys" is no named set/)
  assert.match(lineOf({ EGRESS_ALLOW_PRIVATE: '10.0.0.0/8,10/8' }), /^EGRESS_ALLOW_PRIVATE: 10\/8 is neither/)
  const direct = { AGENT_CHANNEL: 'direct', AGENT_MONGODB_URL: 'mongodb://a@db/' }
  assert.match(lineOf({ ...direct, AGENT_EGRESS: 'none' }), /no effect with AGENT_CHANNEL=direct/)
  assert.match(lineOf({ ...direct, EGRESS_ALLOW_PRIVATE: '10.0.0.0/8' }), /no effect with AGENT_CHANNEL=direct/)
  const api = (env: object) => apiConfig({ ...SERVICES, AGENT_CHANNEL: 'direct', ...env }).api.keepsEgress
  assert.deepEqual(
    [api({}), api({ AGENT_NETWORK: 'mine' }), api({ AGENT_DIRECT_NETWORK: 'mine' })],
    [false, true, true],
  )
  const { worker: asked } = worker({ ...direct, AGENT_NETWORK: 'mine', AGENT_EGRESS: 'none' })
  assert.deepEqual(asked.egress, [], 'of another network the engine is asked, once it is there')
  assert.equal(apiConfig(SERVICES).api.keepsEgress, true)
  assert.deepEqual(worker({ AGENT_EGRESS: 'none' }).notices, [])
  assert.match(worker({ AGENT_EGRESS: 'none', AGENT_NETWORK: 'mine' }).notices.join(), /on the network mine/)
})

test('a policy that agents can go around says so, and what would hold them', () => {
  const notices = (env: Record<string, string>) => worker({ AGENT_EGRESS: 'registries', ...env }).notices.join('\n')
  assert.equal(notices({}), '')
  assert.match(notices({ GATEWAY_TCP_PORT: '8100' }), /holds only programs that use the proxy.*an internal one/)
  const pods = { ENGINE: 'kubernetes', GATEWAY_TCP_PORT: '8100', GATEWAY_TCP_URL: 'http://gateway:8100' }
  assert.match(notices(pods), /holds only programs that use the proxy, unless a NetworkPolicy/)
})
