import { spawn } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import Dockerode from 'dockerode'
import { type Daemon, type Skip, startDaemon } from '../../services/daemon.ts'
import { exec, inPath } from '../../services/machine.ts'

/** A Docker daemon of the harness's own, which it may kill: its containers, images and network are nobody else's. */
export type PrivateDocker = Daemon & { readonly host: string; readonly docker: Dockerode }

export type PrivateDockerOptions = {
  /** Where its socket lies; short, because a socket's path has at most 107 bytes (unix(7)). */
  readonly dir: string
  /** Containers outlive the daemon. */
  readonly liveRestore: boolean
  /** Copied from the daemon of this machine. */
  readonly image: string
}

/** A network interface's name has at most 15 bytes (IFNAMSIZ in netdevice(7), less the NUL). */
const bridgeName = (): string => `mgxc${process.pid}`

/** A /24 of the range for tests of networks (RFC 2544), so that no real one is covered; another one for each process at a time. */
const subnet = (): string => `198.18.${process.pid % 256}`

/**
 * The bridge must be there before the daemon. Rules of the firewall are the machine's daemon's: with them, this one would tear down
 * the other's at each of its starts.
 */
const openBridge = async (): Promise<AsyncDisposable & { readonly name: string }> => {
  const name = bridgeName()
  await exec('ip', ['link', 'add', 'name', name, 'type', 'bridge'])
  const remove = async () => void (await exec('ip', ['link', 'del', name]))
  try {
    await exec('ip', ['addr', 'add', `${subnet()}.1/24`, 'dev', name])
    await exec('ip', ['link', 'set', name, 'up'])
  } catch (error) {
    await remove()
    throw error
  }
  return { name, [Symbol.asyncDispose]: remove }
}

const argsOf = (host: string, bridge: string, liveRestore: boolean) => (dir: string) => {
  for (const name of ['data', 'exec']) mkdirSync(join(dir, name))
  return [
    ...['--host', host, '--bridge', bridge, '--data-root', join(dir, 'data'), '--exec-root', join(dir, 'exec')],
    ...['--pidfile', join(dir, 'pid'), '--iptables=false', '--ip-masq=false', '--ip-forward=false'],
    ...(liveRestore ? ['--live-restore'] : []),
  ]
}

const copyImage = (image: string, host: string): Promise<void> =>
  new Promise((resolve, reject) => {
    const save = spawn('docker', ['save', image], { stdio: ['ignore', 'pipe', 'inherit'] })
    const load = spawn('docker', ['-H', host, 'load', '--quiet'], { stdio: [save.stdout, 'ignore', 'inherit'] })
    save.once('error', reject)
    load.once('error', reject)
    load.once('exit', (code) => (code === 0 ? resolve() : reject(new Error(`docker load ended with ${code}`))))
  })

/** What it has mounted, innermost first: a directory with a mount in it cannot be removed. */
const unmountBelow = async (dir: string): Promise<void> => {
  const mounts = (await readFile('/proc/self/mounts', 'utf8')).split('\n').map((line) => line.split(' ')[1] ?? '')
  const ours = mounts.filter((path) => path.startsWith(`${dir}/`)).sort((a, b) => b.length - a.length)
  for (const path of ours) await exec('umount', ['--lazy', path]).catch(() => {})
}

const isShimOf = (dir: string, args: readonly string[]): boolean =>
  (args[0] ?? '').includes('containerd-shim') && args.some((arg) => arg.startsWith(`${dir}/`))

/** A containerd that was killed leaves shims that no other one knows, some with a container: they would stay for ever. */
const endShims = async (dir: string): Promise<void> => {
  for (const pid of (await readdir('/proc')).filter((name) => /^\d+$/.test(name))) {
    const args = (await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')).split('\0')
    if (!isShimOf(dir, args)) continue
    const children = await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8').catch(() => '')
    for (const one of [...children.split(' ').filter(Boolean), pid]) endNow(Number(one))
  }
}

const endNow = (pid: number): void => {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // It ended before us.
  }
}

const removeAll = async (docker: Dockerode): Promise<void> => {
  for (const { Id } of await docker.listContainers({ all: true })) {
    await docker.getContainer(Id).remove({ force: true, v: true })
  }
}

/** `{ skip }` where this machine cannot have one. Needs root. */
export const openPrivateDocker = async (options: PrivateDockerOptions): Promise<PrivateDocker | Skip> => {
  const command = inPath('dockerd')
  if (command === undefined) return { skip: 'no dockerd in PATH' }
  if (process.getuid?.() !== 0) return { skip: 'only root can start a dockerd' }
  if (inPath('ip') === undefined) return { skip: 'no ip (iproute2) in PATH' }
  await using stack = new AsyncDisposableStack()
  const bridge = stack.use(await openBridge())
  const socket = join(options.dir, 'd.sock')
  const host = `unix://${socket}`
  const docker = new Dockerode({ socketPath: socket })
  const daemon = await startDaemon({
    name: 'dockerd',
    command,
    args: argsOf(host, bridge.name, options.liveRestore),
    ready: async () => String(await docker.ping()) === 'OK',
  })
  stack.use(daemon)
  stack.defer(async () => {
    await removeAll(docker).catch(() => {})
    await daemon.kill('SIGTERM')
    await endShims(daemon.dir)
    await unmountBelow(daemon.dir)
  })
  await copyImage(options.image, host)
  const kept = stack.move()
  return Object.assign(daemon, { host, docker, [Symbol.asyncDispose]: () => kept.disposeAsync() })
}
