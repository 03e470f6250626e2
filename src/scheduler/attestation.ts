import type { Attestation, AttestedCheck, QuotaInForce } from '#contracts/attestation.ts'
import { GATEWAY_MOUNT } from '#contracts/job.ts'
import type { Run } from '#contracts/run.ts'
import type { SandboxFacts, SandboxSpec } from './engines/engine.ts'
import { type KernelFacts, readKernelTexts } from './engines/kernel-files.ts'

/** Where engines mount the workspace, and what they give for temporary files. */
const WORKSPACE = '/workspace'
/** Where the image's link of that name leads, and what of it a slot has mounted. */
const WORKSPACE_PLACES = /^\/mnt(\/workspace)? /
const TMPFS = { tmp: '/tmp', home: '/home/agent' } as const

/** What every container has: of its own, or made by the engine for it (names and addresses, read-only for who is not root). */
const USUAL_MOUNT =
  /^\/( |proc[/ ]|sys[/ ]|dev |dev\/(pts|shm|mqueue) |etc\/(resolv\.conf|hostname|hosts) |tmp |home\/agent )/

const UNKNOWN = 'unknown'

const limitWord = (value: number | undefined): string | number =>
  value === undefined ? UNKNOWN : value === Infinity ? 'unlimited' : value

const atMost = (name: string, asked: number, enforced: number | undefined): AttestedCheck => ({
  name,
  asked,
  enforced: limitWord(enforced),
  ok: enforced !== undefined && enforced <= asked,
})

const same = (name: string, asked: string | boolean, enforced: string | boolean | undefined): AttestedCheck => ({
  name,
  asked,
  enforced: enforced ?? UNKNOWN,
  ok: enforced === asked,
})

const SECCOMP = ['off', 'strict', 'filter']

const listed = (all: readonly string[]): string => (all.length === 0 ? 'none' : all.join(', '))

type Container = Extract<SandboxFacts, { kind: 'container' }>

const askedMounts = (spec: SandboxSpec): string =>
  listed([...(spec.gatewayDir ? [`${GATEWAY_MOUNT} ro`] : []), `${WORKSPACE} rw`])

const ownMounts = ({ mounts }: KernelFacts): string[] =>
  mounts
    .filter((mount) => !USUAL_MOUNT.test(mount))
    .map((mount) => mount.replace(WORKSPACE_PLACES, `${WORKSPACE} `))
    .sort()

/** An agent without a network has the loopback of its own and nothing else, whatever the engine calls it. */
const networkCheck = (spec: SandboxSpec, facts: Container, kernel: KernelFacts): AttestedCheck => {
  const alone = kernel.interfaces.join() === 'lo'
  return same('network', spec.network, alone ? 'none' : listed(facts.networks))
}

const checksOf = (spec: SandboxSpec, facts: Container): AttestedCheck[] => {
  const kernel = readKernelTexts(facts.texts)
  const { limits } = spec
  const [, gid = ''] = spec.user.split(':')
  const seccomp = kernel.seccomp === undefined ? undefined : SECCOMP[kernel.seccomp]
  return [
    same('user', spec.user, kernel.user),
    same('more_groups', 'none', listed(kernel.groups.filter((group) => group !== gid))),
    same('capabilities', 'none', kernel.capabilities && listed(kernel.capabilities)),
    same('no_new_privileges', true, kernel.noNewPrivileges),
    same('seccomp', 'filter', seccomp),
    same('root_read_only', true, kernel.rootReadOnly),
    same('mounts', askedMounts(spec), listed(ownMounts(kernel))),
    same('shared_namespaces', 'none', listed(facts.sharedNamespaces)),
    networkCheck(spec, facts, kernel),
    atMost('memory_bytes', limits.memoryBytes, kernel.memoryBytes),
    atMost('swap_bytes', 0, kernel.swapBytes),
    atMost('cpu_quota', limits.cpuQuota, kernel.cpuQuota),
    atMost('pids', limits.pids, kernel.pids),
    atMost('tmp_bytes', limits.tmpBytes, kernel.tmpfsBytes(TMPFS.tmp)),
    atMost('home_bytes', limits.tmpBytes, kernel.tmpfsBytes(TMPFS.home)),
    atMost('core_file_bytes', 0, kernel.coreBytes),
  ]
}

/** An engine that isolates nothing: everything that was asked for, and nothing enforced. */
const nothingEnforced = (spec: SandboxSpec): AttestedCheck[] => {
  const empty = { kind: 'container', containerId: '', imageId: '', networks: [], sharedNamespaces: [] } as const
  const asked = checksOf(spec, { ...empty, source: 'host', texts: {} })
  return asked.map(({ name, asked: what }) => ({ name, asked: what, enforced: 'nothing', ok: false }))
}

type Egress = NonNullable<Run['egress']>

const wordsOf = ({ allow }: Egress): string | string[] => (typeof allow === 'string' ? allow : [...allow])

/** Where nothing narrower than everything was asked, and agents reach their network by themselves, there is nothing to hold. */
const egressChecks = (egress: Egress | undefined): AttestedCheck[] => {
  if (egress === undefined || (egress.allow === 'all' && !egress.enforced)) return []
  const asked = String(wordsOf(egress))
  return [same('egress', asked, egress.enforced ? asked : 'everything')]
}

type About = {
  readonly engine: string
  readonly quota: QuotaInForce
  /** As the run has it. */
  readonly egress?: Egress | undefined
  readonly readAt: Date
}

/** What was asked for a container against what holds it. Pure. */
export const attestationOf = (
  spec: SandboxSpec,
  facts: SandboxFacts,
  { engine, quota, egress, readAt }: About,
): Attestation => {
  const held = facts.kind === 'container' ? checksOf(spec, facts) : nothingEnforced(spec)
  const checks = [...held, ...egressChecks(egress)]
  return {
    session_id: spec.session_id,
    run_id: spec.run_id,
    engine,
    container_id: facts.containerId,
    image: spec.image,
    ...(facts.kind === 'container' && { image_id: facts.imageId }),
    source: facts.kind === 'container' ? facts.source : 'none',
    read_at: readAt.toISOString(),
    ok: checks.every(({ ok }) => ok),
    quota,
    ...(egress && { egress: { ...egress, allow: wordsOf(egress) } }),
    checks,
  }
}
