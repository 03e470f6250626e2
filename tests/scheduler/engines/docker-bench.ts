import { randomUUID } from 'node:crypto'
import { chmod, mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type Docker from 'dockerode'
import { createClaims } from '#scheduler/claims.ts'
import { createDockerEngine } from '#scheduler/engines/docker.ts'
import type { EngineBench } from '../../conformance/engine-bench.ts'
import { toShell } from '../../conformance/shell-runner.ts'
import { openCuttableProxy } from '../../services/cuttable-proxy.ts'
import { openDocker } from '../../services/docker.ts'
import { ensureBoxImage } from '../../services/test-image.ts'

const found = await openDocker()

/** Why the tests of a file cannot run here, or `false`. */
export const noDocker: string | false = 'skip' in found && found.skip !== undefined ? found.skip : false

export const testDocker = (): Docker => {
  if (!('docker' in found)) throw new Error('there is no Docker here')
  return found.docker
}

export const silent = { warn: () => {} }

type Modem = { socketPath?: unknown; getSocketPath(): Promise<string>; host?: string; port?: number }

const upstreamOf = async (modem: Modem) =>
  modem.socketPath ? { path: await modem.getSocketPath() } : { host: modem.host ?? '', port: Number(modem.port) }

export type DockerBench = EngineBench & { readonly installation: string; readonly docker: Docker }

/** The Docker engine with an installation of its own, behind a proxy that can be cut. */
export const openDockerBench = async (): Promise<DockerBench> => {
  await using stack = new AsyncDisposableStack()
  const docker = testDocker()
  const image = await ensureBoxImage(docker)
  const dir = await mkdtemp(join(tmpdir(), 'mgx-docker-'))
  stack.defer(() => rm(dir, { recursive: true, force: true }))
  const socketPath = join(dir, 'docker.sock')
  const proxy = stack.use(await openCuttableProxy(socketPath, await upstreamOf(docker.modem as unknown as Modem)))
  const installation = `test-${randomUUID()}`
  const slotsRoot = join(dir, 'workspaces')
  await mkdir(slotsRoot)
  await chmod(dir, 0o755)
  const open = () =>
    createDockerEngine({
      docker: { socketPath },
      installation,
      image,
      network: 'none',
      claims: createClaims(slotsRoot),
      log: silent,
    })
  const kept = stack.move()
  return {
    engine: open(),
    docker,
    installation,
    image,
    slotsRoot,
    reopen: open,
    line: toShell,
    spoil: (spec) => ({ spec: { ...spec, image: 'mgx-test-nothing:none' }, failure: 'image_missing' }),
    outage: { begin: proxy.cut, end: proxy.restore },
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  }
}
