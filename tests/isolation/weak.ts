import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { copyFile, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type Docker from 'dockerode'
import { docker, type Ran } from '../infra/image.ts'
import type { Findings } from './checks.ts'
import { PROBES } from './world.ts'

/** Where the kernel knows no IPv6, no weakness can be made of it. */
export const HAS_IPV6 = existsSync('/proc/net/if_inet6')

const KEY = `sk-${randomBytes(12).toString('hex')}`

/** Everything that an agent's container must not have. What the machine cannot give a container (`--privileged`) is left out. */
const hostConfig = (dir: string): Docker.HostConfig => ({
  CapAdd: ['SYS_ADMIN', 'NET_ADMIN', 'SYSLOG', 'SYS_PTRACE', 'MKNOD'],
  SecurityOpt: ['seccomp=unconfined', 'apparmor=unconfined'],
  MaskedPaths: [],
  ReadonlyPaths: [],
  GroupAdd: ['4'],
  ...(HAS_IPV6 && { Sysctls: { 'net.ipv6.conf.all.disable_ipv6': '0' } }),
  Ulimits: [{ Name: 'core', Soft: -1, Hard: -1 }],
  Mounts: [
    { Type: 'bind', Source: dir, Target: dir },
    { Type: 'bind', Source: '/sys/fs/cgroup', Target: '/sys/fs/cgroup' },
    { Type: 'bind', Source: join(dir, 'docker.sock'), Target: '/var/run/docker.sock' },
  ],
})

const inside = async (id: string, ...command: readonly string[]): Promise<Ran> => {
  const ran = await docker(['exec', '--user', '0:0', id, ...command])
  assert.equal(ran.code, 0, ran.stderr)
  return ran
}

/** What the probe finds in a container that nothing holds, beside a plain node that has a secret. */
export const probeWeak = async (client: Docker, image: string): Promise<Findings> => {
  await using stack = new AsyncDisposableStack()
  const dir = await mkdtemp(join(tmpdir(), 'mgx-weak-'))
  stack.defer(() => rm(dir, { recursive: true, force: true }))
  // Not the daemon's own: what matters is that one is there.
  const socket = stack.adopt(createServer().listen(join(dir, 'docker.sock')), (server) => void server.close())
  await once(socket, 'listening')
  const marker = 'of-another-workspace'
  await mkdir(join(dir, 'other'))
  await writeFile(join(dir, 'other', marker), '')
  for (const file of [...PROBES, join(import.meta.dirname, 'weaken.py')]) {
    await copyFile(file, join(dir, file.split('/').at(-1) ?? ''))
  }
  const container = await client.createContainer({
    Image: image,
    User: '0:0',
    Env: [`OPENAI_API_KEY=${KEY}`, 'HTTP_PROXY=http://user:password@proxy'],
    Entrypoint: ['bash', '-c', 'node -e "setTimeout(() => {}, 600_000)"; exit'],
    HostConfig: hostConfig(dir),
  })
  stack.defer(() => container.remove({ force: true, v: true }))
  await container.start()
  await inside(container.id, 'python3', join(dir, 'weaken.py'), HAS_IPV6 ? 'ipv6' : '')
  const rights = ['setpriv', '--inh-caps=+net_raw', '--ambient-caps=+net_raw']
  const { stdout } = await inside(container.id, ...rights, 'python3', join(dir, 'probe.py'), marker, KEY)
  return JSON.parse(stdout) as Findings
}
