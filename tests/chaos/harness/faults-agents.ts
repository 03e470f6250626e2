import type Dockerode from 'dockerode'
import { waitFor } from '../../helpers.ts'
import type { CuttableProxy } from '../../services/cuttable-proxy.ts'
import { freeze } from '../../services/freeze.ts'
import { runnerPid } from '../runner-pid.ts'
import { type Fault, NOTHING, pickAgent, rest, type Site, startAgain } from './site.ts'

/** It has just gone, or stops already. */
const isOver = (error: unknown): boolean => {
  const { statusCode, code } = error as { statusCode?: number; code?: string }
  return statusCode === 404 || statusCode === 409 || code === 'ESRCH'
}

/** What is done to a container may come too late. */
const unlessGone = async (action: () => Promise<unknown>): Promise<boolean> => {
  try {
    await action()
    return true
  } catch (error) {
    if (isOver(error)) return false
    throw error
  }
}

type Blow = (container: Dockerode.Container, site: Site, lastsMs: number) => Promise<unknown>

const toAgent =
  (words: string, blow: Blow): Fault =>
  async (site, plan) => {
    const agent = await pickAgent(site, plan)
    if (!agent) return NOTHING
    const { container, runs } = agent
    const hit = await unlessGone(() => blow(container, site, plan.lastsMs))
    const idle = runs.length === 0 ? ', while it waited for a run' : ''
    return { what: `${site.house.channel} ${words}${idle}${hit ? '' : ', too late'}`, runs }
  }

const pause: Blow = async (container, site, lastsMs) => {
  await freeze(container)
  await rest(lastsMs, site)
  // Docker itself may be away just now, or may have thawed it to stop it ("not paused": 500 in Engine 20.10).
  const thawed = async () => {
    if ((await container.inspect()).State.Paused) await container.unpause()
    return true
  }
  await waitFor(() => thawed().catch((error: unknown) => isOver(error) || Promise.reject(error)), {
    what: 'the container to go on',
    everyMs: 200,
  })
}

const killRunner: Blow = async (container) => {
  const pid = await runnerPid(container)
  if (pid !== undefined) process.kill(pid, 'SIGKILL')
}

const cutWire = async (site: Site, name: string, wire: CuttableProxy, lastsMs: number): Promise<void> => {
  using _turn = await site.turns.take(name)
  await wire.cut()
  await rest(lastsMs, site)
  await startAgain(name, { restart: () => wire.restore() })
}

const cutModel: Fault = async (site, { lastsMs }) => {
  await cutWire(site, `${site.house.channel} model wire`, site.house.modelWire, lastsMs)
  return { what: `${site.house.channel} model out of reach`, runs: [] }
}

const cutStore: Fault = async (site, { lastsMs }) => {
  const { channel, storeWire } = site.house
  if (!storeWire) return NOTHING
  await cutWire(site, `${channel} store wire`, storeWire, lastsMs)
  return { what: `${channel} agents cut off from MongoDB`, runs: [] }
}

const fillDisk: Fault = async (site, { lastsMs }) => {
  const { channel, disk } = site.house
  if ('skip' in disk) return { what: `no disk that may be filled: ${disk.skip}`, runs: [] }
  using _turn = await site.turns.take(`${channel} disk`)
  await disk.fill()
  await rest(lastsMs, site)
  await disk.free()
  return { what: `${channel} workspaces full`, runs: [] }
}

export const AGENT_FAULTS = {
  'container.kill': toAgent('container killed', (container) => container.kill({ signal: 'SIGKILL' })),
  'container.remove': toAgent('container removed by hand', (container) => container.remove({ force: true, v: true })),
  'container.pause': toAgent('container paused', pause),
  'runner.kill': toAgent('runner killed', killRunner),
  'model.cut': cutModel,
  'store.cut': cutStore,
  'disk.fill': fillDisk,
} as const satisfies Record<string, Fault>
