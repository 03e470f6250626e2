import { randomUUID } from 'node:crypto'
import { chmod, chown, mkdir, readFile, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { LABELS } from '#contracts/labels.ts'
import { pause } from '../patience.ts'
import { factsOf } from './docker-attest.ts'
import { CHANGE_MS, type Daemon, within } from './docker-daemon.ts'
import { startError } from './docker-errors.ts'
import { dockerOptions } from './docker-options.ts'
import { EngineError, type SandboxFacts, type SandboxLimits, type SandboxSpec } from './engine.ts'

const MIB = 1024 * 1024

/** Small, so that reaching them is quick. A kernel that keeps small limits keeps large ones. */
export const TRIAL_LIMITS: SandboxLimits = {
  memoryBytes: 96 * MIB,
  cpuQuota: 50_000,
  pids: 48,
  tmpBytes: 16 * MIB,
}

/** Goes to every limit, writes what it met into the workspace, and waits to be looked at. */
const SCRIPT = `
import errno, json, os, time

def fills(path):
    size = 0
    try:
        with open(path, "wb", buffering=0) as file:
            while size < ${4 * TRIAL_LIMITS.tmpBytes}:
                size += file.write(b"x" * 65536)
    except OSError as error:
        if error.errno != errno.ENOSPC: raise
    os.remove(path)
    return size

def forks():
    children = []
    try:
        while len(children) < ${4 * TRIAL_LIMITS.pids}:
            child = os.fork()
            if child == 0:
                time.sleep(60); os._exit(0)
            children.append(child)
    except OSError: pass
    for child in children: os.kill(child, 9)
    for child in children: os.waitpid(child, 0)
    return len(children) + 1

def cores():
    before, start = os.times(), time.monotonic()
    children = []
    for _ in range(2):
        child = os.fork()
        if child == 0:
            while time.monotonic() - start < 2: pass
            os._exit(0)
        children.append(child)
    for child in children: os.waitpid(child, 0)
    after = os.times()
    return (after.children_user + after.children_system - before.children_user - before.children_system) / (time.monotonic() - start)

def allocates():
    child = os.fork()
    if child == 0:
        b"x" * ${4 * TRIAL_LIMITS.memoryBytes}; os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])

found = {"tmpBytes": fills("/tmp/fill"), "processes": forks(), "cores": cores(), "endedByMemory": allocates()}
with open("/workspace/.result", "w") as file: json.dump(found, file)
os.rename("/workspace/.result", "/workspace/result")
time.sleep(60)
`

/** What a program met when it went to the limits. */
export type Measured = {
  readonly tmpBytes: number
  readonly processes: number
  /** Of processor time for each second of two busy processes. */
  readonly cores: number
  readonly endedByMemory: boolean
}

export type Trial = {
  readonly spec: SandboxSpec
  readonly facts: SandboxFacts
  readonly measured: Measured
  /** Whose the file is that the container made, on our side. */
  readonly owner: string
}

/** How long the program may take: four seconds here, more on a slow machine. */
const TRIAL_MS = 60_000
const POLL_MS = 100

export type TrialOf = Pick<SandboxSpec, 'image' | 'user' | 'network'> & {
  /** The workspaces as this process sees them, and as the daemon's machine does. */
  readonly root: string
  readonly hostRoot: string
}

const specOf = ({ image, user, network, root, hostRoot }: TrialOf, name: string): SandboxSpec => ({
  session_id: name,
  run_id: name,
  tenant_id: 'default',
  workspace_id: name,
  name: `mgx-${name}`,
  image,
  user,
  workspace: { path: join(root, '.mgx', name), hostPath: join(hostRoot, '.mgx', name) },
  env: {},
  network,
  limits: TRIAL_LIMITS,
  labels: {},
  extraHosts: [],
})

const makeWorkspace = async (path: string, user: string): Promise<void> => {
  await mkdir(path, { recursive: true })
  await chmod(path, 0o750)
  const [uid = 0, gid = 0] = user.split(':').map(Number)
  if (process.getuid?.() === 0) await chown(path, uid, gid)
}

const untilResult = async (path: string, signal: AbortSignal): Promise<Measured> => {
  for (;;) {
    const text = await readFile(path, 'utf8').catch(() => undefined)
    if (text !== undefined) return JSON.parse(text) as Measured
    await pause(POLL_MS, signal)
  }
}

const trialError = (spec: SandboxSpec, error: unknown): EngineError =>
  error instanceof Error && error.name === 'TimeoutError'
    ? new EngineError(
        'start_failed',
        `the container did not write into ${spec.workspace.path} as ${spec.user} within ${TRIAL_MS / 1000} s`,
        'Check HOST_WORKSPACES_ROOT, AGENT_USER and that the image is the one that `make build-agent` builds.',
        { cause: error },
      )
    : startError(error, spec)

/**
 * Runs a program in a container that is made as an agent's is, with small limits, and compares nothing: what it met, and what
 * the kernel says. It carries no run's label, so that no worker takes it for a run's. Leaves nothing behind.
 */
export const tryContainer = async (daemon: Daemon, of: TrialOf): Promise<Trial> => {
  const spec = specOf(of, `doctor-${randomUUID().slice(0, 8)}`)
  const own = { [LABELS.managed]: 'true', [LABELS.installation]: daemon.installation, [LABELS.role]: 'probe' }
  await using stack = new AsyncDisposableStack()
  await makeWorkspace(spec.workspace.path, spec.user)
  stack.defer(() => rm(spec.workspace.path, { recursive: true, force: true }))
  try {
    const options = { ...dockerOptions(spec, daemon.installation), Labels: own, OpenStdin: false, AttachStdin: false }
    const container = await within(CHANGE_MS, (abortSignal) =>
      daemon.docker.createContainer({ ...options, Entrypoint: ['python3', '-c', SCRIPT], abortSignal }),
    )
    stack.defer(() => within(CHANGE_MS, () => container.remove({ force: true, v: true })))
    await within(CHANGE_MS, (abortSignal) => container.start({ abortSignal }))
    const result = join(spec.workspace.path, 'result')
    const measured = await untilResult(result, AbortSignal.timeout(TRIAL_MS))
    const facts = await factsOf(daemon, container.id)
    if (facts === undefined) throw new Error('the container ended before it was looked at')
    const { uid, gid } = await stat(result)
    return { spec, facts, measured, owner: `${uid}:${gid}` }
  } catch (error) {
    throw trialError(spec, error)
  }
}
