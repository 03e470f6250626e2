import { readFile } from 'node:fs/promises'
import type { Readable } from 'node:stream'
import type Docker from 'dockerode'
import { askUnless, CALL_MS, containersOf, type Daemon, within } from './docker-daemon.ts'
import { callError } from './docker-errors.ts'
import { demultiplex } from './docker-logs.ts'
import type { SandboxFacts, SandboxRef } from './engine.ts'
import { KERNEL_FILES, type KernelFile, type KernelTexts } from './kernel-files.ts'
import { PRINT_KERNEL_FILES, printedTexts } from './kernel-files-printed.ts'

const NAMES = Object.keys(KERNEL_FILES) as KernelFile[]

/** Where a file of the container lies for a root of the machine itself; its first process is `pid` here. */
const hostPath = (pid: number, path: string): string => {
  if (path.startsWith('/proc/'))
    return path === KERNEL_FILES.swaps ? path : path.replace(/^\/proc\/[^/]+/, `/proc/${pid}`)
  return `/proc/${pid}/root${path}`
}

const readOrNothing = (path: string): Promise<string | undefined> => readFile(path, 'utf8').catch(() => undefined)

/** True while that process of this machine belongs to the container: the kernel names it in the path of its cgroup. */
const isOurs = async (pid: number, containerId: string): Promise<boolean> =>
  (await readOrNothing(`/proc/${pid}/cgroup`))?.includes(containerId) ?? false

/**
 * Straight from the kernel, where this process may look: on the daemon's machine, as root. Costs nothing of the container,
 * and nothing in the container can meddle. Asked twice whose process it is, because numbers of processes are used again.
 */
const fromHost = async (pid: number, containerId: string): Promise<KernelTexts | undefined> => {
  if (!(await isOurs(pid, containerId))) return undefined
  const texts = await Promise.all(
    NAMES.map(async (name) => [name, await readOrNothing(hostPath(pid, KERNEL_FILES[name]))] as const),
  )
  if (!(await isOurs(pid, containerId))) return undefined
  const read = Object.fromEntries(texts.filter(([, text]) => text !== undefined)) as KernelTexts
  return read.mounts === undefined ? undefined : read
}

/**
 * The same files by one command in the container. As root without any capability, because what runs as the agent's user
 * could be made to lie by the agent (ptrace); there is no secret in the container's environment that it could inherit.
 */
const byExec = async (container: Docker.Container): Promise<KernelTexts> => {
  const options = { Cmd: [...PRINT_KERNEL_FILES], User: '0:0', AttachStdout: true, AttachStderr: false }
  const output = await within(CALL_MS, async (abortSignal) => {
    const exec = await container.exec({ ...options, abortSignal })
    const stream = (await exec.start({ hijack: false, stdin: false, abortSignal })) as Readable
    return Buffer.concat(await Array.fromAsync(demultiplex(stream))).toString()
  })
  return printedTexts(output)
}

/** Gone, or not running (any more). */
const OVER = [404, 409]

const sharedNamespaces = ({ HostConfig }: Docker.ContainerInspectInfo): string[] => {
  const { PidMode, IpcMode, UTSMode, NetworkMode } = HostConfig
  const modes = { pid: PidMode, ipc: IpcMode, uts: UTSMode, net: NetworkMode }
  return Object.entries(modes).flatMap(([name, mode]) => (mode === 'host' ? [name] : []))
}

/** What holds this very container. @param read the first way to try */
export const factsOf = async (
  { docker }: Pick<Daemon, 'docker'>,
  containerId: string,
  read: typeof fromHost = fromHost,
): Promise<SandboxFacts | undefined> => {
  const container = docker.getContainer(containerId)
  const info = await askUnless(OVER, CALL_MS, (abortSignal) => container.inspect({ abortSignal }))
  if (!info?.State.Running) return undefined
  const shared = {
    kind: 'container',
    containerId: info.Id,
    imageId: info.Image,
    networks: Object.keys(info.NetworkSettings.Networks).sort(),
    sharedNamespaces: sharedNamespaces(info),
  } as const
  const texts = await read(info.State.Pid, info.Id)
  if (texts) return { ...shared, source: 'host', texts }
  const inside = await askUnless(OVER, CALL_MS, () => byExec(container))
  if (inside === undefined) return undefined
  if (inside.status === undefined) throw callError(new Error('the container does not show the files of the kernel'))
  return { ...shared, source: 'exec', texts: inside }
}

/** `SandboxEngine.attest`. */
export const attestContainer = async (daemon: Daemon, ref: SandboxRef): Promise<SandboxFacts | undefined> => {
  const [found] = await containersOf(daemon, ref)
  return found?.running ? factsOf(daemon, found.containerId) : undefined
}
