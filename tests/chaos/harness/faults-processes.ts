import { Redis } from 'ioredis'
import type { Daemon } from '../../services/daemon.ts'
import { nodesOf } from './house.ts'
import { type Fault, NotRepaired, pickNode, rest, type Site, startAgain, untilLeft } from './site.ts'

type Service = Pick<Daemon, 'kill' | 'pause' | 'resume' | 'restart'>

const killed = async (site: Site, name: string, service: Service, lastsMs: number): Promise<void> => {
  using _turn = await site.turns.take(name)
  await service.kill()
  await rest(lastsMs, site)
  await startAgain(name, service)
}

const slept = async (site: Site, name: string, service: Service, lastsMs: number): Promise<void> => {
  using _turn = await site.turns.take(name)
  await service.pause()
  await rest(lastsMs, site)
  service.resume()
}

/** Asked to leave in order, as by an upgrade. */
const left = async (site: Site, name: string, service: Service, lastsMs: number): Promise<void> => {
  using _turn = await site.turns.take(name)
  const trouble = await untilLeft(name, service)
  await rest(lastsMs, site)
  await startAgain(name, service)
  if (trouble !== undefined) throw new NotRepaired(trouble)
}

type Blow = typeof killed

const toNode =
  (kind: 'worker' | 'API', blow: Blow, words: string): Fault =>
  async (site, plan) => {
    const { name, node } = pickNode(site, kind, plan)
    await blow(site, name, node, plan.lastsMs)
    return { what: `${name} ${words}`, runs: [] }
  }

const toService =
  (service: 'redis' | 'mongo', blow: Blow, words: string): Fault =>
  async (site, plan) => {
    const name = `${site.house.channel} ${service}`
    await blow(site, name, site.house.stack[service], plan.lastsMs)
    return { what: `${name} ${words}`, runs: [] }
  }

const flush: Fault = async (site) => {
  const name = `${site.house.channel} redis`
  using _turn = await site.turns.take(name)
  const client = new Redis(site.house.stack.redis.url, { maxRetriesPerRequest: 1 })
  client.on('error', () => {})
  try {
    await client.flushall()
  } finally {
    client.disconnect()
  }
  return { what: `${name} emptied`, runs: [] }
}

const killDockerd: Fault = async (site, { lastsMs }) => {
  if (!site.dockerd) return { what: 'no dockerd that may be killed', runs: [] }
  await killed(site, 'dockerd', site.dockerd, lastsMs)
  return { what: 'dockerd killed', runs: [] }
}

/** Everything of the house at once, but its agents: they are another machine's. */
const cutPower: Fault = async (site, { lastsMs }) => {
  const { channel, stack } = site.house
  const services = [
    { name: `${channel} redis`, node: stack.redis },
    { name: `${channel} mongo`, node: stack.mongo },
  ]
  const all: { readonly name: string; readonly node: Service }[] = [...services, ...nodesOf(site.house)]
  await Promise.all(all.map(({ name, node }) => killed(site, name, node, lastsMs)))
  return { what: `${channel} house without power`, runs: [] }
}

/** A rolling update: every process of the house, one after the other, a worker and an API in turn. */
const roll: Fault = async (site, { lastsMs }) => {
  const all = nodesOf(site.house)
  const [workers, apis] = [
    all.filter(({ name }) => name.includes(' worker ')),
    all.filter(({ name }) => name.includes(' API ')),
  ]
  const order = workers.flatMap((worker, index) => [worker, ...apis.slice(index, index + 1)])
  for (const { name, node } of [...order, ...apis.slice(workers.length)]) await left(site, name, node, lastsMs)
  return { what: `${site.house.channel} house: ${all.length} processes replaced in turn`, runs: [] }
}

export const PROCESS_FAULTS = {
  'worker.kill': toNode('worker', killed, 'killed'),
  'worker.sleep': toNode('worker', slept, 'slept past its lock'),
  'worker.term': toNode('worker', left, 'asked to leave'),
  'api.kill': toNode('API', killed, 'killed'),
  'api.term': toNode('API', left, 'asked to leave'),
  'redis.kill': toService('redis', killed, 'killed, and its data lost'),
  'redis.pause': toService('redis', slept, 'stopped'),
  'redis.flush': flush,
  'mongod.kill': toService('mongo', killed, 'killed'),
  'mongod.pause': toService('mongo', slept, 'stopped'),
  'dockerd.kill': killDockerd,
  'power.cut': cutPower,
  'house.roll': roll,
} as const satisfies Record<string, Fault>
