/** The files in which the kernel says what holds a container; paths as its own processes see them. */
export const KERNEL_FILES = {
  status: '/proc/1/status',
  limits: '/proc/1/limits',
  mounts: '/proc/self/mountinfo',
  interfaces: '/proc/self/net/dev',
  swaps: '/proc/swaps',
  memory1: '/sys/fs/cgroup/memory/memory.limit_in_bytes',
  memoryAndSwap1: '/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes',
  cpuQuota1: '/sys/fs/cgroup/cpu/cpu.cfs_quota_us',
  cpuPeriod1: '/sys/fs/cgroup/cpu/cpu.cfs_period_us',
  pids1: '/sys/fs/cgroup/pids/pids.max',
  memory2: '/sys/fs/cgroup/memory.max',
  swap2: '/sys/fs/cgroup/memory.swap.max',
  cpu2: '/sys/fs/cgroup/cpu.max',
  pids2: '/sys/fs/cgroup/pids.max',
} as const

export type KernelFile = keyof typeof KERNEL_FILES

/** Their texts; those of the other cgroup version are absent. */
export type KernelTexts = Readonly<Partial<Record<KernelFile, string>>>

/** What they say, in our words. `undefined`: no file says it; `Infinity`: no limit. */
export type KernelFacts = {
  readonly user: string | undefined
  readonly groups: readonly string[]
  /** The sets that are not empty, as `CapEff 00000000a80425fb`. */
  readonly capabilities: readonly string[] | undefined
  /** 0 off, 1 strict, 2 filter. */
  readonly seccomp: number | undefined
  readonly noNewPrivileges: boolean
  readonly rootReadOnly: boolean | undefined
  /** Bytes that a tmpfs at this path may hold. */
  tmpfsBytes(path: string): number | undefined
  /** Mount points, sorted, as `/workspace rw`. */
  readonly mounts: readonly string[]
  readonly interfaces: readonly string[]
  readonly memoryBytes: number | undefined
  /** Swap that it may use besides its memory. */
  readonly swapBytes: number | undefined
  /** Microseconds per 100 000. */
  readonly cpuQuota: number | undefined
  readonly pids: number | undefined
  readonly coreBytes: number | undefined
}

/** cgroup v1 has no word for "no limit": a number near 2^63, rounded down to pages. */
const UNLIMITED = 2 ** 62
const PERIOD = 100_000

const toLimit = (text: string | undefined): number | undefined => {
  const word = text?.trim()
  if (word === undefined || word === '') return undefined
  const value = word === 'max' || word === 'unlimited' || word === '-1' ? Infinity : Number(word)
  return value >= UNLIMITED ? Infinity : value
}

const field = (text: string | undefined, name: string): string | undefined =>
  text === undefined ? undefined : new RegExp(`^${name}:[ \\t]*(.*)$`, 'm').exec(text)?.[1]?.trim()

type Mount = { readonly path: string; readonly options: readonly string[]; readonly superOptions: readonly string[] }

/** See proc_pid_mountinfo(5). */
const mountsIn = (text: string | undefined): Mount[] =>
  (text ?? '')
    .split('\n')
    .filter(Boolean)
    .map((line) => {
      const [left = '', right = ''] = line.split(' - ')
      const [, , , , path = '', options = ''] = left.split(' ')
      return { path, options: options.split(','), superOptions: (right.split(' ')[2] ?? '').split(',') }
    })

const UNITS: Readonly<Record<string, number>> = { '': 1, k: 1024, m: 1024 ** 2, g: 1024 ** 3 }

const sizeOf = ({ superOptions }: Mount): number => {
  const [, digits, unit = ''] =
    /^size=(\d+)([kmg]?)$/.exec(superOptions.find((one) => one.startsWith('size=')) ?? '') ?? []
  return digits === undefined ? Infinity : Number(digits) * (UNITS[unit] ?? 1)
}

const CAPABILITY_SETS = ['CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb']

const capabilitiesIn = (status: string | undefined): readonly string[] | undefined => {
  const sets = CAPABILITY_SETS.map((name) => [name, field(status, name)] as const)
  if (sets.some(([, value]) => value === undefined)) return undefined
  return sets.filter(([, value]) => !/^0+$/.test(value ?? '')).map((pair) => pair.join(' '))
}

/** All four of real, effective, saved and file system: one word if they are the same. */
const idIn = (status: string | undefined, name: string): string | undefined => {
  const ids = field(status, name)?.split(/\s+/)
  return ids && [...new Set(ids)].join('/')
}

/** Swap besides memory. v1 counts both together, and has no such file where the kernel does not count swap at all. */
const swapIn = (texts: KernelTexts, memory: number | undefined): number | undefined => {
  const ownLimit = toLimit(texts.swap2)
  if (ownLimit !== undefined) return ownLimit
  const both = toLimit(texts.memoryAndSwap1)
  if (both !== undefined && memory !== undefined) return both === Infinity ? Infinity : both - memory
  const machineHasSwap = (texts.swaps ?? '').trim().split('\n').length > 1
  return texts.swaps !== undefined && !machineHasSwap ? 0 : undefined
}

const cpuIn = (texts: KernelTexts): number | undefined => {
  const [quota, period] = texts.cpu2?.trim().split(' ') ?? [texts.cpuQuota1, texts.cpuPeriod1]
  const limit = toLimit(quota)
  return limit === undefined ? undefined : (limit * PERIOD) / (toLimit(period) ?? PERIOD)
}

const coreIn = (limits: string | undefined): number | undefined =>
  toLimit(/^Max core file size\s+\S+\s+(\S+)/m.exec(limits ?? '')?.[1])

const interfacesIn = (text: string | undefined): string[] =>
  [...(text ?? '').matchAll(/^\s*([^\s:]+):/gm)].map(([, name = '']) => name).sort()

/** What the kernel says. Pure. */
export const readKernelTexts = (texts: KernelTexts): KernelFacts => {
  const { status } = texts
  const mounts = mountsIn(texts.mounts)
  const uid = idIn(status, 'Uid')
  const gid = idIn(status, 'Gid')
  const memoryBytes = toLimit(texts.memory2 ?? texts.memory1)
  const seccomp = field(status, 'Seccomp')
  return {
    user: uid !== undefined && gid !== undefined ? `${uid}:${gid}` : undefined,
    groups: field(status, 'Groups')?.split(/\s+/).filter(Boolean) ?? [],
    capabilities: capabilitiesIn(status),
    seccomp: seccomp === undefined ? undefined : Number(seccomp),
    noNewPrivileges: field(status, 'NoNewPrivs') === '1',
    rootReadOnly: mounts.find(({ path }) => path === '/')?.options.includes('ro'),
    tmpfsBytes: (path) =>
      mounts
        .filter((mount) => mount.path === path)
        .map(sizeOf)
        .at(-1),
    mounts: mounts.map(({ path, options }) => `${path} ${options.includes('ro') ? 'ro' : 'rw'}`).sort(),
    interfaces: interfacesIn(texts.interfaces),
    memoryBytes,
    swapBytes: swapIn(texts, memoryBytes),
    cpuQuota: cpuIn(texts),
    pids: toLimit(texts.pids2 ?? texts.pids1),
    coreBytes: coreIn(texts.limits),
  }
}
