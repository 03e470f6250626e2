import { createHash } from 'node:crypto'
import type Docker from 'dockerode'
import { GATEWAY_MOUNT, IDENTITY_VARIABLES, WARM_ARGUMENT } from '#contracts/job.ts'
import { LABELS, type SandboxRole } from '#contracts/labels.ts'
import type { SandboxSpec } from './engine.ts'
import type { SlotSpec } from './warm-engine.ts'

export const WORKSPACE_MOUNT = '/workspace'

/** Where a slot's shared directory is mounted; in the image `WORKSPACE_MOUNT` is a link to `workspace` in it. */
export const SLOT_MOUNT = '/mnt'

/**
 * A tmpfs, because the root is read-only and npm, pip and git write there. What the image has at this path is hidden, but
 * for its mode: runc up to 1.1 gives a tmpfs the mode of the directory under it, so an image needs /tmp with 1777.
 */
export const AGENT_HOME = '/home/agent'

/** The period that `limits.cpuQuota` counts in, microseconds: Docker's default, written out so that inspect shows it. */
const CPU_PERIOD = 100_000

/** Docker's weight of one core: under contention every container gets its quota's share. */
const SHARES_PER_CORE = 1024

/**
 * Bounded, and yet followed without loss up to 32 MB: Docker 20.10 was seen to skip output when it rotates under a
 * follower, so the first file is large, and a second one keeps `docker logs` useful after that.
 */
const LOG_FILE_SIZE = '32m'
const LOG_FILES = '2'

/** Labels that this engine itself goes by: written here so that no spec can lack them. */
export const identityLabels = (
  ref: Pick<SandboxSpec, 'session_id' | 'run_id' | 'workspace_id'>,
  installation: string,
): Record<string, string> => ({
  [LABELS.managed]: 'true',
  [LABELS.installation]: installation,
  [LABELS.session]: ref.session_id,
  [LABELS.run]: ref.run_id,
  [LABELS.workspace]: ref.workspace_id,
})

const tmpfsOptions = (sizeBytes: number, more: string): string => `rw,exec,nosuid,nodev,size=${sizeBytes},${more}`

const tmpfs = (spec: Startable): Record<string, string> => {
  const [uid, gid = uid] = spec.user.split(':')
  return {
    '/tmp': tmpfsOptions(spec.limits.tmpBytes, 'mode=1777'),
    [AGENT_HOME]: tmpfsOptions(spec.limits.tmpBytes, `mode=700,uid=${uid},gid=${gid}`),
  }
}

/** Mounts, never Binds: a source that is missing is then an error, not a new empty directory owned by root. */
const mounts = (spec: Startable): Docker.MountSettings[] => {
  const workspace: Docker.MountSettings = {
    Type: 'bind',
    Source: spec.workspace.hostPath,
    Target: 'slot' in spec ? SLOT_MOUNT : WORKSPACE_MOUNT,
    ReadOnly: false,
  }
  if (!spec.gatewayDir) return [workspace]
  return [workspace, { Type: 'bind', Source: spec.gatewayDir.hostPath, Target: GATEWAY_MOUNT, ReadOnly: true }]
}

const hostConfig = (spec: Startable): Docker.HostConfig => ({
  // No AutoRemove: it loses logs and exit code. No Init: docker-init is readable and shows its environment to the agent;
  // the image brings its own. Seccomp and AppArmor profiles stay Docker's defaults because nothing is set.
  AutoRemove: false,
  RestartPolicy: { Name: 'no' },
  CapDrop: ['ALL'],
  SecurityOpt: ['no-new-privileges'],
  Privileged: false,
  IpcMode: 'private',
  ReadonlyRootfs: true,
  Tmpfs: tmpfs(spec),
  Mounts: mounts(spec),
  Memory: spec.limits.memoryBytes,
  MemorySwap: spec.limits.memoryBytes,
  CpuPeriod: CPU_PERIOD,
  CpuQuota: spec.limits.cpuQuota,
  CpuShares: Math.max(2, Math.round((SHARES_PER_CORE * spec.limits.cpuQuota) / CPU_PERIOD)),
  PidsLimit: spec.limits.pids,
  // A core file would put memory, the job line among it, into the workspace.
  Ulimits: [{ Name: 'core', Soft: 0, Hard: 0 }],
  NetworkMode: spec.network,
  ExtraHosts: [...spec.extraHosts],
  LogConfig: { Type: 'json-file', Config: { 'max-size': LOG_FILE_SIZE, 'max-file': LOG_FILES } },
})

/** What is the same for a container of a run and for one that is started ahead. */
type Startable = SandboxSpec | SlotSpec

const createOptions = (spec: Startable): Docker.ContainerCreateOptions => ({
  name: spec.name,
  Image: spec.image,
  User: spec.user,
  Env: Object.entries({ ...spec.env, HOME: AGENT_HOME }).map(([name, value]) => `${name}=${value}`),
  // StdinOnce: standard input ends with the one line that is written, also when the worker dies before it wrote it.
  OpenStdin: true,
  StdinOnce: true,
  AttachStdin: true,
  AttachStdout: false,
  AttachStderr: false,
  Tty: false,
  StopSignal: 'SIGTERM',
  HostConfig: hostConfig(spec),
})

/** A sandbox in Docker's words. Pure; every default of the security chapter is visible here and in `docker inspect`. */
export const dockerOptions = (spec: SandboxSpec, installation: string): Docker.ContainerCreateOptions => ({
  ...createOptions(spec),
  Labels: { ...spec.labels, ...identityLabels(spec, installation) },
})

/** A slot in Docker's words: its image by id, because a name may mean another image by the time the slot is claimed. Pure. */
export const slotOptions = (spec: SlotSpec, installation: string, imageId: string): Docker.ContainerCreateOptions => ({
  ...createOptions(spec),
  Image: imageId,
  Cmd: ['agent', spec.channel === 'direct' ? `${WARM_ARGUMENT}=direct` : WARM_ARGUMENT],
  // The workspace, where an agent container begins, is not there yet.
  WorkingDir: '/',
  Labels: {
    ...spec.labels,
    [LABELS.managed]: 'true',
    [LABELS.installation]: installation,
    [LABELS.role]: 'warm' satisfies SandboxRole,
    [LABELS.slot]: spec.slot,
  },
})

/** What two containers must have in common for one to stand in for the other: everything but names, as a hash. Pure. */
export const optionsKey = (spec: Startable, imageId: string): string => {
  const { name: _, Env = [], HostConfig = {}, ...rest } = createOptions(spec)
  const same = {
    ...rest,
    Image: imageId,
    Env: Env.filter((line) => !IDENTITY_VARIABLES.includes(line.split('=')[0] ?? '')),
    HostConfig: { ...HostConfig, Mounts: HostConfig.Mounts?.length },
  }
  return createHash('sha256').update(JSON.stringify(same)).digest('hex')
}
