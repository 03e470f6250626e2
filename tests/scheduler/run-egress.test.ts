import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Run } from '#contracts/run.ts'
import { onItsNetwork } from '#scheduler/closed-network.ts'
import type { EngineError } from '#scheduler/engines/engine.ts'
import { runEgress, runPolicy } from '#scheduler/run-egress.ts'
import type { ChannelConfig, WorkerConfig } from '#scheduler/worker-context.ts'
import { agent } from '../fakes/scripted-agent.ts'
import { openWorld } from './world.ts'

const ALL = [{ kind: 'any' }] as const
const DIRECT: ChannelConfig = { kind: 'direct', mongodbUrl: '', mongodbDb: '', openaiApiKey: '' }
const GATEWAY: ChannelConfig = { kind: 'gateway' }

test('a policy is enforced only where the gateway is the one way out of a container', () => {
  const of = (channel: ChannelConfig, network: string, sharesPaths = false) =>
    runEgress({ options: {} }, { channel, network, egress: ALL }, { sharesPaths })
  assert.deepEqual(of(GATEWAY, 'none'), { allow: 'all', enforced: true })
  assert.equal(of(GATEWAY, 'bridge').enforced, false)
  assert.equal(of(GATEWAY, 'none', true).enforced, false, 'the process engine')
  assert.equal(of(DIRECT, 'agents').enforced, false)
  assert.equal(of({ ...DIRECT, proxied: true }, 'agents').enforced, true)
})

test('what a run asked for narrows; what it stored and nobody can read allows nothing', () => {
  const of = (egress: Run['options']['egress']) => runPolicy(ALL, { options: { egress } })
  assert.equal(of(undefined), ALL)
  assert.deepEqual(of('pypi.org'), [{ kind: 'host', host: 'pypi.org' }])
  assert.deepEqual(of(['none']), [])
  assert.deepEqual(of('of a later version!'), [])
})

test('in the direct channel the engine is asked about the network: a policy needs one that leads nowhere', async () => {
  const config = { channel: DIRECT, network: 'agents', egress: ALL } as unknown as WorkerConfig
  const engine = (leadsNowhere: boolean) => ({
    leadsNowhere: async (network: string) => network === 'agents' && leadsNowhere,
  })
  assert.deepEqual((await onItsNetwork(config, engine(true))).channel, { ...DIRECT, proxied: true })
  assert.equal(await onItsNetwork(config, engine(false)), config)
  assert.equal(await onItsNetwork(config, {}), config, 'an engine that cannot tell')
  const narrow = { ...config, egress: [] }
  assert.equal((await onItsNetwork(narrow, engine(true))).channel.kind, 'direct')
  await assert.rejects(onItsNetwork(narrow, engine(false)), (error: EngineError) => {
    assert.match(`${error.message} ${error.remediation}`, /AGENT_EGRESS cannot be enforced.*agents.*--internal/)
    return true
  })
})

test('in the direct channel a run that asks for a policy is ended, and says why: nothing would keep it', async (t) => {
  const world = await openWorld(t, ({ events }) => agent(events))
  world.worker().consume()
  const refused = await world.generate({ options: { egress: 'none' } })
  const finish = await world.over(refused)
  assert.equal(finish.data.cause, 'start_failed')
  assert.match(finish.data.error ?? '', /options\.egress cannot be enforced here.*AGENT_CHANNEL=gateway/)
  const all = await world.generate({ options: { egress: 'all' } })
  assert.equal((await world.over(all)).data.cause, 'completed')
  assert.deepEqual((await world.run(all)).egress, { allow: 'all', enforced: false })
})
