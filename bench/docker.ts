import { execFile, execFileSync } from 'node:child_process'
import { chmod, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import Docker from 'dockerode'
import { LABELS } from '#contracts/labels.ts'
import { dockerOptions } from '#scheduler/engines/docker-options.ts'

/**
 * What the Docker engine itself costs, without mgx: the command line, a plain dockerode script, and bare cycles.
 * The containers of the last two are hardened as agent containers are, by the same pure function.
 */

const run = promisify(execFile)
const NODE = '/usr/local/bin/node'

const elapsed = (start: number): number => performance.now() - start

/** Milliseconds of `docker run --rm` of a Node that does nothing: create to removed, the floor of any container start. */
export const dockerRun = async (image: string): Promise<number> => {
  const start = performance.now()
  await run('docker', ['run', '--rm', '--entrypoint', NODE, image, '-e', '0'])
  return elapsed(start)
}

export type BareDocker = {
  /** Create, attach, start, milliseconds until the first byte of output; the removal is not timed. */
  firstByte(): Promise<number>
  /** One whole life: create, start, wait, remove. Rejects when an agent does not end well. */
  cycle(): Promise<void>
} & AsyncDisposable

let serial = 0

/** Names what this process makes on the Docker daemon. */
export const installationOf = (name: string): string => `bench-${process.pid}-${name}`

/** Removes whatever a benchmark that was interrupted has left. For an `exit` hook: nothing in it waits. */
export const removeLeftovers = (): void => {
  const format = `{{.ID}} {{.Label "${LABELS.installation}"}}`
  const all = execFileSync('docker', ['ps', '-a', '--filter', `label=${LABELS.managed}`, '--format', format])
  const mine = all
    .toString()
    .split('\n')
    .filter((line) => line.includes(` ${installationOf('')}`))
  if (mine.length > 0) execFileSync('docker', ['rm', '-f', ...mine.map((line) => line.split(' ')[0] ?? '')])
}

/** The agent itself in place of a Node that does nothing; told what to do by its environment, or by a line of its standard input. */
export type AgentByHand = {
  readonly env: Readonly<Record<string, string>>
  readonly jobLine?: (name: string) => string
  /** Where its gateway listens. */
  readonly gatewayDir?: string
}

export type BareOptions = { readonly image: string; readonly network: string; readonly agent?: AgentByHand }

type Bare = BareOptions & { readonly workspace: string }

const nextName = (): string => `mgx-bench-${process.pid}-${serial++}`

const optionsFor = (bare: Bare, name: string, code: string): Docker.ContainerCreateOptions => {
  const { image, network, workspace, agent } = bare
  const ids = { session_id: name, run_id: name, workspace_id: name, tenant_id: 'bench' }
  const limits = { memoryBytes: 2 ** 31, cpuQuota: 100_000, pids: 512, tmpBytes: 2 ** 30 }
  const spec = {
    ...ids,
    name,
    image,
    user: '1000:1000',
    env: agent ? { ...agent.env, SESSION_ID: name, WORKSPACE_ID: name } : {},
    ...(agent?.gatewayDir && { gatewayDir: { path: agent.gatewayDir, hostPath: agent.gatewayDir } }),
    network,
    limits,
    labels: {},
    extraHosts: [],
  }
  const options = dockerOptions(
    { ...spec, workspace: { path: workspace, hostPath: workspace } },
    installationOf('bare'),
  )
  const program = agent ? {} : { Entrypoint: [NODE], Cmd: ['-e', code] }
  return agent?.jobLine ? options : { ...options, ...program, OpenStdin: false, AttachStdin: false }
}

export const openBareDocker = async (options: BareOptions): Promise<BareDocker> => {
  const docker = new Docker()
  const workspace = await mkdtemp(join(tmpdir(), 'mgx-bench-'))
  await chmod(workspace, 0o777)
  const bare = { ...options, workspace }
  const remove = (container: Docker.Container) => container.remove({ force: true })
  return {
    async firstByte() {
      const start = performance.now()
      const container = await docker.createContainer(optionsFor(bare, nextName(), 'console.log(1)'))
      try {
        const output = await container.attach({ stream: true, stdout: true, stderr: true })
        const first = new Promise((resolve) => output.once('data', resolve))
        await container.start()
        await first
        const ms = elapsed(start)
        await container.wait()
        return ms
      } finally {
        await remove(container)
      }
    },
    async cycle() {
      const name = nextName()
      const container = await docker.createContainer(optionsFor(bare, name, '0'))
      try {
        const line = options.agent?.jobLine?.(name)
        const stdin = line && (await container.attach({ stream: true, stdin: true, hijack: true }))
        await container.start()
        if (stdin) stdin.end(line)
        const { StatusCode: code } = await container.wait()
        if (code !== 0) throw new Error(`${name} ended with ${code}`)
      } finally {
        await remove(container)
      }
    },
    [Symbol.asyncDispose]: () => rm(workspace, { recursive: true, force: true }),
  }
}

/** Cycles per minute with so many at a time, begun for so long; those under way then are awaited and counted. */
export const ceiling = async (bare: BareDocker, atOnce: number, seconds: number): Promise<number> => {
  const start = performance.now()
  let cycles = 0
  const loop = async () => {
    for (; elapsed(start) < seconds * 1_000; cycles++) await bare.cycle()
  }
  await Promise.all(Array.from({ length: atOnce }, loop))
  return cycles / (elapsed(start) / 60_000)
}

/** A slot that is there still loads its runner: nothing outside sees when it is ready. */
const SETTLE_MS = 700

/** Waits until no run of this installation has a container, and until so many containers are warm. */
export const untilIdle = async (installation: string, pool: number, timeoutMs = 120_000): Promise<void> => {
  const docker = new Docker()
  const filters = { label: [`${LABELS.installation}=${installation}`] }
  const end = performance.now() + timeoutMs
  for (;;) {
    const names = (await docker.listContainers({ all: true, filters })).map(({ Names: [name = ''] }) => name)
    const warm = names.filter((name) => name.startsWith('/mgx-warm-')).length
    if (warm === names.length && warm >= pool) break
    if (performance.now() > end) throw new Error(`${installation} did not come to rest: ${names.join(' ')}`)
    await sleep(25)
  }
  if (pool > 0) await sleep(SETTLE_MS)
}
