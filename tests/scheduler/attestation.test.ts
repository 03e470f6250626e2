import assert from 'node:assert/strict'
import { test } from 'node:test'
import { attestationOf } from '#scheduler/attestation.ts'
import type { SandboxFacts, SandboxSpec } from '#scheduler/engines/engine.ts'
import { type KernelTexts, readKernelTexts } from '#scheduler/engines/kernel-files.ts'

const MIB = 1024 * 1024

const spec: SandboxSpec = {
  session_id: 's1',
  run_id: 'r1',
  tenant_id: 'default',
  workspace_id: 'w1',
  name: 'mgx-agent-s1',
  image: 'mgx:latest',
  user: '1000:1000',
  workspace: { path: '/here/w1', hostPath: '/there/w1' },
  gatewayDir: { path: '/here/.mgx/abc', hostPath: '/there/.mgx/abc' },
  env: {},
  network: 'none',
  limits: { memoryBytes: 64 * MIB, cpuQuota: 150_000, pids: 64, tmpBytes: 16 * MIB },
  labels: {},
  extraHosts: [],
}

/** As Debian 12 with cgroup v2 shows them. */
const V2: KernelTexts = {
  status: [
    'Name:\ttini',
    'Uid:\t1000\t1000\t1000\t1000',
    'Gid:\t1000\t1000\t1000\t1000',
    'Groups:\t1000 ',
    ...['Inh', 'Prm', 'Eff', 'Bnd', 'Amb'].map((set) => `Cap${set}:\t0000000000000000`),
    'NoNewPrivs:\t1',
    'Seccomp:\t2',
    'Seccomp_filters:\t1',
  ].join('\n'),
  limits:
    'Limit                     Soft Limit           Hard Limit           Units\nMax core file size        0                    0                    bytes\n',
  mounts: [
    '600 500 0:50 / / ro,relatime master:1 - overlay overlay rw,lowerdir=/a:/b,upperdir=/c',
    '601 600 0:55 / /proc rw,nosuid,nodev,noexec,relatime - proc proc rw',
    '602 600 0:56 / /dev rw,nosuid - tmpfs tmpfs rw,size=65536k,mode=755',
    '603 600 0:60 / /tmp rw,nosuid,nodev,relatime - tmpfs tmpfs rw,size=16384k',
    '604 600 0:61 / /home/agent rw,nosuid,nodev - tmpfs tmpfs rw,size=16384k,mode=700,uid=1000,gid=1000',
    '605 600 254:1 /there/w1 /workspace rw,relatime - ext4 /dev/vda1 rw',
    '606 600 254:1 /there/.mgx/abc /run/mgx ro,relatime - ext4 /dev/vda1 rw',
    '607 600 254:1 /docker/x/hosts /etc/hosts rw,relatime - ext4 /dev/vda1 rw',
    '608 601 0:55 /sys /proc/sys ro,relatime - proc proc rw',
  ].join('\n'),
  interfaces: 'Inter-|   Receive\n face |bytes\n    lo:       0       0\n',
  memory2: `${64 * MIB}\n`,
  swap2: '0\n',
  cpu2: '75000 50000\n',
  pids2: '64\n',
}

const container = (texts: KernelTexts): SandboxFacts => ({
  kind: 'container',
  containerId: 'c1',
  imageId: 'sha256:1',
  networks: ['none'],
  sharedNamespaces: [],
  source: 'host',
  texts,
})

const attest = (facts: SandboxFacts) =>
  attestationOf(spec, facts, { engine: 'docker', quota: { kind: 'none' }, readAt: new Date(0) })

const gaps = (change: KernelTexts) => {
  const { ok, checks } = attest(container({ ...V2, ...change }))
  const failed = checks.filter((check) => !check.ok)
  assert.equal(ok, failed.length === 0)
  return failed.map(({ name, enforced }) => `${name} ${enforced}`)
}

test('cgroup v2: what was asked is what the kernel says', () => {
  assert.deepEqual(gaps({}), [])
  const { cpuQuota, memoryBytes } = readKernelTexts(V2)
  assert.deepEqual([cpuQuota, memoryBytes], [150_000, 64 * MIB])
})

const status = (from: string, to: string) => ({ status: V2.status?.replace(from, to) ?? '' })
const mounts = (from: string, to: string) => ({ mounts: V2.mounts?.replace(from, to) ?? '' })

const GAPS: readonly [string, KernelTexts, string[]][] = [
  ['root', status('Uid:\t1000\t1000', 'Uid:\t0\t1000'), ['user 0/1000:1000']],
  ['a group more', status('Groups:\t1000', 'Groups:\t1000 999'), ['more_groups 999']],
  ['one capability to be had', status('CapBnd:\t00', 'CapBnd:\t10'), ['capabilities CapBnd 1000000000000000']],
  ['set-uid programs work', status('Privs:\t1', 'Privs:\t0'), ['no_new_privileges false']],
  ['no seccomp', status('Seccomp:\t2', 'Seccomp:\t0'), ['seccomp off']],
  ['a root that can be written', mounts('/ / ro', '/ / rw'), ['root_read_only false']],
  [
    'a mount more',
    mounts('/etc/hosts', '/var/run/docker.sock'),
    ['mounts /run/mgx ro, /var/run/docker.sock rw, /workspace rw'],
  ],
  ['a gateway that can be written', mounts('/run/mgx ro', '/run/mgx rw'), ['mounts /run/mgx rw, /workspace rw']],
  ['a /tmp without a size', mounts('- tmpfs tmpfs rw,size=16384k\n', '- tmpfs tmpfs rw\n'), ['tmp_bytes unlimited']],
  ['a network', { interfaces: `${V2.interfaces}  eth0: 1 1\n` }, ['network net1']],
  ['no limit of memory', { memory2: 'max\n' }, ['memory_bytes unlimited']],
  ['swap', { swap2: 'max\n' }, ['swap_bytes unlimited']],
  ['a core and a half more', { cpu2: '150000 50000\n' }, ['cpu_quota 300000']],
  ['no limit of processes', { pids2: 'max\n' }, ['pids unlimited']],
  ['core files', { limits: V2.limits?.replace(/0( +)bytes/, 'unlimited$1bytes') ?? '' }, ['core_file_bytes unlimited']],
]

for (const [what, change, expected] of GAPS) {
  test(`a gap is seen: ${what}`, () => {
    const facts = container({ ...V2, ...change })
    const named = what === 'a network' ? { ...facts, networks: ['net1'] } : facts
    const failed = attest(named as SandboxFacts).checks.filter((check) => !check.ok)
    assert.deepEqual(
      failed.map(({ name, enforced }) => `${name} ${enforced}`),
      expected,
    )
  })
}

test('a limit that no file says is none', () => {
  const nothing = attest(container({}))
  assert.equal(nothing.ok, false)
  assert.ok(
    nothing.checks.every(({ name, ok }) => !ok || ['more_groups', 'shared_namespaces', 'network'].includes(name)),
  )
})

const V1: KernelTexts = {
  ...V2,
  memory1: `${64 * MIB}\n`,
  memoryAndSwap1: `${64 * MIB}\n`,
  cpuQuota1: '150000\n',
  cpuPeriod1: '100000\n',
  pids1: '64\n',
}

const v1 = (change: KernelTexts = {}): KernelTexts => {
  const { memory2: _m, swap2: _s, cpu2: _c, pids2: _p, ...texts } = { ...V1, ...change }
  return texts
}

test('cgroup v1: numbers near 2^63 are no limit, and swap is what both together leave', () => {
  assert.deepEqual(
    attest(container(v1())).checks.filter(({ ok }) => !ok),
    [],
  )
  const huge = '9223372036854771712\n'
  const open = readKernelTexts(v1({ memory1: huge, memoryAndSwap1: huge, cpuQuota1: '-1\n' }))
  assert.deepEqual([open.memoryBytes, open.swapBytes, open.cpuQuota], [Infinity, Infinity, Infinity])
  assert.equal(readKernelTexts(v1({ memoryAndSwap1: `${80 * MIB}\n` })).swapBytes, 16 * MIB)
})

test('a kernel that does not count swap: safe only where the machine has none', () => {
  const { memoryAndSwap1: _, ...uncounted } = v1()
  const header = 'Filename\tType\tSize\tUsed\tPriority\n'
  assert.equal(readKernelTexts({ ...uncounted, swaps: header }).swapBytes, 0)
  assert.equal(readKernelTexts({ ...uncounted, swaps: `${header}/swap file 1 0 -2\n` }).swapBytes, undefined)
})

test('egress: enforced or a gap; where nothing was asked and nothing holds it, no check', () => {
  const about = { engine: 'docker', quota: { kind: 'none' }, readAt: new Date(0) } as const
  const of = (allow: 'all' | string[], enforced: boolean) => {
    const { checks, egress } = attestationOf(spec, container(V2), { ...about, egress: { allow, enforced } })
    assert.deepEqual(egress, { allow, enforced })
    return checks.filter(({ name }) => name === 'egress').map(({ asked, enforced: got, ok }) => `${asked} ${got} ${ok}`)
  }
  assert.deepEqual(of('all', true), ['all all true'])
  assert.deepEqual(of(['a.org', 'b.org'], true), ['a.org,b.org a.org,b.org true'])
  assert.deepEqual(of(['a.org'], false), ['a.org everything false'])
  assert.deepEqual(of('all', false), [])
})

test('an engine that isolates nothing says so in every line', () => {
  const { ok, source, checks } = attest({ kind: 'nothing', containerId: 'p1' })
  assert.deepEqual([ok, source], [false, 'none'])
  assert.ok(checks.length > 10 && checks.every((check) => !check.ok && check.enforced === 'nothing'))
})
