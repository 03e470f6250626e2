import { describe } from 'node:test'
import { openDocker } from '../services/docker.ts'
import { testImage } from '../services/image.ts'
import { openServer } from './embedded-server.ts'
import { mainJobSuite } from './main-job.ts'

describe('embedded, agents as plain processes', () => {
  mainJobSuite((t, env) => openServer(t, { ENGINE: 'process', ...env }))
})

const docker = await openDocker()

describe('embedded, agents in containers, some of them started ahead', {
  skip: 'skip' in docker ? docker.skip : false,
}, () => {
  const warm = { ENGINE: 'docker', WARM_POOL_SIZE: '2' }
  mainJobSuite(async (t, env) => openServer(t, { ...warm, AGENT_CONTAINER_IMAGE: await testImage(), ...env }))
})
