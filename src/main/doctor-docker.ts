import { attestationOf } from '#scheduler/attestation.ts'
import { checkDisks } from '#scheduler/check-disks.ts'
import { createDockerEngine } from '#scheduler/engines/docker.ts'
import { checkDaemon, checkWorkspaceMapping } from '#scheduler/engines/docker-check.ts'
import { connectDocker } from '#scheduler/engines/docker-daemon.ts'
import { type Measured, TRIAL_LIMITS, type Trial, tryContainer } from '#scheduler/engines/docker-trial.ts'
import type { WorkerConfig } from '#scheduler/worker-context.ts'
import { clockFinding } from './doctor-clock.ts'
import { megabytes } from './doctor-machine.ts'
import { type Check, type Finding, failure, ok, warning } from './doctor-report.ts'

const NOT_ENFORCED =
  'The daemon accepts this limit and the kernel does not enforce it: see `docker info`, and the kernel command line'

const CGROUPS = `${NOT_ENFORCED} (cgroup_enable=memory swapaccount=1 on cgroup v1).`

/** A kernel gives time in slices: what was measured over two seconds may lie a little above the quota. */
const CPU_TOLERANCE = 1.25

const measured = (check: string, held: boolean, says: string): Finding =>
  held ? ok(check, says) : failure(check, `NOT ENFORCED: ${says}`, CGROUPS)

export const limitFindings = (met: Measured): Finding[] => {
  const { memoryBytes, pids, tmpBytes, cpuQuota } = TRIAL_LIMITS
  const cores = cpuQuota / 100_000
  const memory = `a process that took four times ${megabytes(memoryBytes)} was ${met.endedByMemory ? 'ended' : 'NOT ended'}`
  return [
    measured('limit of memory', met.endedByMemory, memory),
    measured('limit of processes', met.processes <= pids, `${met.processes} of ${pids} could be there at once`),
    measured(
      'limit of CPU',
      met.cores <= cores * CPU_TOLERANCE,
      `${met.cores.toFixed(2)} of ${cores} cores were given`,
    ),
    measured('size of /tmp', met.tmpBytes <= tmpBytes, `full at ${megabytes(met.tmpBytes)} of ${megabytes(tmpBytes)}`),
  ]
}

const userFinding = ({ owner, spec }: Trial): Finding =>
  owner === spec.user
    ? ok('user', `files of agents belong to ${owner}`)
    : failure(
        'user',
        `a file of the user ${spec.user} belongs to ${owner} here`,
        'The daemon maps users (rootless or userns-remap): set AGENT_USER so that both see the same owner, or turn the map off.',
      )

const attested = ({ spec, facts }: Trial): Finding[] => {
  const about = { engine: 'docker', quota: { kind: 'none' }, readAt: new Date() } as const
  const { checks, source } = attestationOf(spec, facts, about)
  const gaps = checks.filter(({ ok: held }) => !held)
  if (gaps.length === 0) return [ok('hardening', `all ${checks.length} checks hold, read by ${source}`)]
  return gaps.map(({ name, asked, enforced }) =>
    failure(`hardening, ${name}`, `asked ${asked}, enforced ${enforced}`, `${NOT_ENFORCED}.`),
  )
}

const roomFinding = (info: { MemTotal?: number; NCPU?: number }, { limits, concurrency }: WorkerConfig): Finding => {
  const { MemTotal = 0, NCPU = 0 } = info
  const wanted = limits.memoryBytes * concurrency
  const says = `${concurrency} agents of ${megabytes(limits.memoryBytes)} on ${megabytes(MemTotal)} and ${NCPU} cores`
  const remedy =
    'Lower WORKER_CONCURRENCY or AGENT_CONTAINER_MEMORY_LIMIT, or know that they may not all be used up at once.'
  return wanted > MemTotal ? warning('room for agents', says, remedy) : ok('room for agents', says)
}

type Docker = ReturnType<typeof connectDocker>

const daemonFindings = async (docker: Docker, worker: WorkerConfig): Promise<Finding[]> => {
  const { installation, image, network } = worker
  const missing: string[] = []
  const log = { warn: (details: { missing?: string[] }) => void missing.push(...(details.missing ?? [])) }
  await checkDaemon({ docker, installation }, { image, network }, log as Parameters<typeof checkDaemon>[2])
  const info = await docker.info()
  const { ServerVersion, CgroupVersion, SystemTime, KernelVersion } = info
  return [
    ok('Docker', `Engine ${ServerVersion}, cgroup v${CgroupVersion}, kernel ${KernelVersion}`),
    ok('image', image),
    ok('network', network),
    ...missing.map((what) => warning('Docker', `the daemon does not enforce ${what}`, CGROUPS)),
    clockFinding('clock of Docker', new Date(SystemTime)),
    roomFinding(info, worker),
  ]
}

const trialFindings = async (docker: Docker, worker: WorkerConfig): Promise<Finding[]> => {
  const { image, user, network, workspacesRoot: root, hostWorkspacesRoot: hostRoot, installation } = worker
  const trial = await tryContainer({ docker, installation }, { image, user, network, root, hostRoot })
  const host = ok('workspaces in containers', `${root} is ${hostRoot} for the daemon`)
  return [host, userFinding(trial), ...attested(trial), ...limitFindings(trial.measured)]
}

/** As the worker does it at its start. */
const hardQuotaFindings = async (docker: Docker, worker: WorkerConfig): Promise<Finding[]> => {
  if (!worker.disk.hard) return []
  const { installation, image, workspacesRoot: root, hostWorkspacesRoot: hostRoot } = worker
  const engine = createDockerEngine({ docker, installation, image, log: { warn() {} } })
  const bytes = await checkDisks({
    root,
    hostRoot,
    engineId: await engine.engineId(),
    sees: (inside, outside) => checkWorkspaceMapping({ docker, installation, image, root: inside, hostRoot: outside }),
  })
  return [
    ok(
      'hard quota',
      `a disk of 16 MB can be made, mounted and seen by the daemon; it has ${megabytes(bytes)} for files`,
    ),
  ]
}

/** The daemon, and what a container of it really holds. The second part only where the first has nothing to mend. */
export const dockerChecks = (worker: WorkerConfig): readonly Check[] => [
  {
    name: 'Docker',
    remedy: 'Start Docker, or set ENGINE=process on a machine that is yours alone.',
    run: async () => {
      const docker = connectDocker({})
      const daemon = await daemonFindings(docker, worker)
      try {
        return [...daemon, ...(await trialFindings(docker, worker)), ...(await hardQuotaFindings(docker, worker))]
      } catch (error) {
        const { remediation, message } = error as { remediation?: string; message: string }
        return [...daemon, failure('container', message, remediation ?? 'See the log of the daemon.')]
      }
    },
  },
]
