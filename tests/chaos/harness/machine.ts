import { bridgeAddress } from '../../services/bridge.ts'
import type { Skip } from '../../services/daemon.ts'
import { openDocker } from '../../services/docker.ts'
import { testImage } from '../../services/image.ts'
import { type House, openHouse } from './house.ts'
import type { Plan } from './plan.ts'
import { openPrivateDocker, type PrivateDocker } from './private-docker.ts'
import { openScriptModel } from './script-model.ts'
import type { Settings } from './settings.ts'

type Machine = { readonly dockerd?: PrivateDocker; readonly bridge: string; readonly without: readonly string[] }

/** The daemon of the agents: one of our own where a plan kills it, else the machine's. Tells the environment of all that follows. */
export const openMachine = async (open: AsyncDisposableStack, plan: Plan, dir: string): Promise<Machine | Skip> => {
  const shared = await openDocker()
  if ('skip' in shared) return shared
  const image = await testImage()
  const wanted = plan.faults.some(({ kind }) => kind === 'dockerd.kill')
  const own = wanted ? await openPrivateDocker({ dir, liveRestore: plan.liveRestore, image }) : undefined
  if (own === undefined || 'skip' in own) {
    const without = own === undefined ? [] : [`dockerd.kill: ${own.skip}`]
    return { bridge: await bridgeAddress(shared.docker), without }
  }
  open.use(own)
  const before = { DOCKER_HOST: process.env.DOCKER_HOST, MGX_TEST_IMAGE: process.env.MGX_TEST_IMAGE }
  Object.assign(process.env, { DOCKER_HOST: own.host, MGX_TEST_IMAGE: image })
  open.defer(() => {
    for (const [name, value] of Object.entries(before)) {
      if (value === undefined) delete process.env[name]
      else process.env[name] = value
    }
  })
  return { dockerd: own, bridge: await bridgeAddress(own.docker), without: [] }
}

export type Opened = Machine & { readonly houses: readonly House[] }

export const openHouses = async (
  open: AsyncDisposableStack,
  machine: Machine,
  { plan, dir, env }: { plan: Plan; dir: string; env: Settings['env'] },
): Promise<Opened | Skip> => {
  const model = open.use(await openScriptModel(machine.bridge))
  const ownDisk = plan.faults.some(({ kind }) => kind === 'disk.fill')
  const houses: House[] = []
  const own = { WARM_POOL_SIZE: String(plan.pool), ...plan.env, ...env }
  for (const channel of plan.channels) {
    const house = await openHouse({
      channel,
      gateway: plan.gateway,
      bridge: machine.bridge,
      model,
      dir,
      ownDisk,
      env: own,
    })
    if ('skip' in house) return house
    houses.push(open.use(house))
  }
  const [first] = houses
  const noDisk = first && ownDisk && 'skip' in first.disk ? [`disk.fill: ${first.disk.skip}`] : []
  return { ...machine, houses, without: [...machine.without, ...noDisk] }
}
