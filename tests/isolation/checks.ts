import type { Row } from './table.ts'

/** What `probe.py` prints. */
export type Findings = {
  readonly uid: number
  readonly gid: number
  readonly groups: readonly number[]
  readonly capabilities: Readonly<Record<string, string>>
  readonly secrets: Readonly<Record<string, Readonly<Record<string, string>> | string>>
  readonly kernel_secrets: Readonly<Record<string, string>>
  readonly kernel_settings: Readonly<Record<string, string>>
  readonly root: Readonly<Record<string, string>>
  readonly reaches: Readonly<Record<string, string>>
  readonly mounts: readonly string[]
  readonly host_paths: readonly string[]
  readonly host_paths_here: readonly string[]
  readonly sockets: readonly string[]
  readonly marked: readonly string[]
  readonly set_id: readonly string[]
  readonly processes: readonly string[]
  readonly key_seen: readonly string[]
  readonly environment: readonly string[]
  /** Variables whose value is an address with a password. */
  readonly credentials: readonly string[]
  readonly interfaces: readonly string[]
  readonly block_devices: readonly string[]
  readonly tmp_bytes: number | string
  readonly home_bytes: number | string
  readonly core: number | string
  readonly pids: number
  readonly cores: number
} & Readonly<Record<Act, string>> &
  Readonly<Record<'seccomp' | 'no_new_privileges' | 'gateway_dir' | 'allocates', string>>

/** Acts that must fail, and what they would be good for. */
const ACTS = {
  setuid: 'become root',
  mount: 'mount a file system',
  user_namespace: 'make a user namespace',
  mount_namespace: 'make a mount namespace',
  chroot: 'change its root',
  mknod: 'make a device',
  keyring: "use the kernel's keyring",
  kernel_log: "read the kernel's log",
  raw_socket: 'open a raw socket',
  own_cgroup: 'change its cgroup',
} as const

type Act = keyof typeof ACTS

/** What was asked of the container; numbers as in `SandboxLimits`. */
export type Asked = {
  readonly uid: number
  readonly gid: number
  readonly pids: number
  readonly cpuQuota: number
  readonly tmpBytes: number
  /** `/workspace rw` and so on, sorted. */
  readonly mounts: readonly string[]
  readonly sockets: readonly string[]
}

/** What the command's own environment may name; the value of none is a secret. */
const HARMLESS =
  /^(PATH|HOME|LANG|LC_\w+|TERM|TMPDIR|TZ|USER|PWD|OLDPWD|SHLVL|_|CI|PAGER|GIT_\w+|MGX_CALL|NODE_USE_SYSTEM_CA|NODE_EXTRA_CA_CERTS|SSL_CERT_\w+|REQUESTS_CA_BUNDLE|(HTTPS?|https?|NO|no)_(PROXY|proxy)|NODE_USE_ENV_PROXY|YARN_HTTPS?_PROXY)$/

const KNOWN_PROCESS = /^(tini|node|node-MainThread|MainThread|bash|sh|python3?(\.\d+)?)$/

const row = (what: string, asked: string, enforced: string, ok: boolean): Row => ({ what, asked, enforced, ok })

const none = (what: string, found: readonly string[], asked = 'none'): Row =>
  row(what, asked, found.length === 0 ? 'none' : found.join(', '), found.length === 0)

const equal = (what: string, asked: string, enforced: string): Row => row(what, asked, enforced, asked === enforced)

const failed = (what: string, results: Readonly<Record<string, string>>): Row => {
  const done = Object.entries(results).flatMap(([name, result]) => (result === 'done' ? [name || '/'] : []))
  const words = [...new Set(Object.values(results))].join(', ')
  return row(what, 'refused', done.length === 0 ? words : `done: ${done.join(', ')}`, done.length === 0)
}

const rights = (found: Findings, asked: Asked): Row[] => [
  equal('user and group', `${asked.uid}:${asked.gid}`, `${found.uid}:${found.gid}`),
  none('more groups', found.groups.map(String)),
  ...Object.entries(found.capabilities).map(([set, hex]) =>
    row(`capabilities, ${set}`, 'none', /^0+$/.test(hex) ? 'none' : hex, /^0+$/.test(hex)),
  ),
  equal('seccomp', 'filter', ['off', 'strict', 'filter'][Number(found.seccomp)] ?? found.seccomp),
  equal('no new privileges', 'yes', found.no_new_privileges === '1' ? 'yes' : 'no'),
  none('programs that change the user', found.set_id),
  ...(Object.keys(ACTS) as Act[]).map((act) => failed(ACTS[act], { [ACTS[act]]: found[act] })),
]

const files = (found: Findings, asked: Asked): Row[] => [
  failed('read what the kernel keeps for root', found.kernel_secrets),
  failed("change the kernel's settings", found.kernel_settings),
  failed('write to the root', found.root),
  failed("write to the gateway's directory", { '/run/mgx': found.gateway_dir }),
  equal('mounts of the machine', asked.mounts.join(', '), found.mounts.join(', ')),
  none('block devices', found.block_devices),
  equal('sockets to be found', asked.sockets.join(', ') || 'none', found.sockets.join(', ') || 'none'),
  none(
    'docker socket',
    found.sockets.filter((path) => path.includes('docker')),
  ),
  none('files of other workspaces', found.marked),
  none(`paths of the machine (${found.host_paths.length} told by mountinfo) that open`, found.host_paths_here),
  none(
    'processes that are not its own',
    found.processes.filter((name) => !KNOWN_PROCESS.test(name)),
  ),
]

const ROUTES = ['environ', 'memory', 'descriptors', 'ptrace', 'debugger'] as const

/** The first process of the container, and the runner. */
const MIN_TARGETS = 2

/** Each route to the secrets of the first process and of the runner: `docs/isolation.md` has the list. */
const secretRows = (found: Findings): Row[] => [
  ...ROUTES.map((route) => {
    const got = Object.entries(found.secrets).flatMap(([pid, said]) => {
      const answer = typeof said === 'string' ? said : said[route]
      return answer === undefined || answer === 'denied' ? [] : [`${pid}: ${answer}`]
    })
    const tried = Object.keys(found.secrets).length
    if (tried < MIN_TARGETS) got.push(`only ${tried} processes to try`)
    return row(`secrets of the runner, by ${route}`, 'denied', got.join(', ') || 'denied', got.length === 0)
  }),
  none('the key of the model in any process', found.key_seen),
  none('variables with a password in them', found.credentials),
  none(
    'variables that could hold a secret',
    found.environment.filter((name) => !HARMLESS.test(name)),
  ),
]

const network = (found: Findings): Row[] => [
  equal('network', 'lo', found.interfaces.join(', ')),
  ...Object.entries(found.reaches).map(([place, result]) => failed(`reach ${place}`, { [place]: result })),
]

/** A file system gives whole pages, and `/tmp` has a few files of its own. */
const fitsIn = (what: string, asked: number, enforced: number | string): Row => {
  const ok = typeof enforced === 'number' && enforced > 0 && enforced <= asked
  return row(what, `${asked} bytes`, `${enforced} bytes`, ok)
}

/** The kernel gives time in slices: what was measured over two seconds may lie a little above the quota. */
const CPU_TOLERANCE = 1.25

const limits = (found: Findings, asked: Asked): Row[] => {
  const cores = asked.cpuQuota / 100_000
  return [
    fitsIn('/tmp is full at', asked.tmpBytes, found.tmp_bytes),
    fitsIn('the home is full at', asked.tmpBytes, found.home_bytes),
    row('processes at once', `at most ${asked.pids}`, String(found.pids), found.pids > 0 && found.pids < asked.pids),
    row('cores for two busy processes', `at most ${cores}`, String(found.cores), found.cores <= cores * CPU_TOLERANCE),
    equal('512 MB of memory', 'signal 9', found.allocates),
    equal('size of a core file', '0', String(found.core)),
  ]
}

/** The one list of probes, for every engine that isolates. Pure. */
export const rowsOf = (found: Findings, asked: Asked): Row[] => [
  ...rights(found, asked),
  ...files(found, asked),
  ...secretRows(found),
  ...network(found),
  ...limits(found, asked),
]
