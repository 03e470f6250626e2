import assert from 'node:assert/strict'
import { test } from 'node:test'
import { LABELS } from '#contracts/labels.ts'
import { dockerOptions } from '#scheduler/engines/docker-options.ts'
import type { SandboxSpec } from '#scheduler/engines/engine.ts'

const spec: SandboxSpec = {
  session_id: 's1',
  run_id: 'r1',
  tenant_id: 'default',
  workspace_id: 'w1',
  name: 'mgx-agent-s1',
  image: 'mgx:latest',
  user: '1000:1001',
  workspace: { path: '/here/w1', hostPath: '/there/w1' },
  gatewayDir: { path: '/here/.mgx/abc', hostPath: '/there/.mgx/abc' },
  env: { SESSION_ID: 's1', HOME: '/elsewhere' },
  network: 'agents',
  limits: { memoryBytes: 2_000_000_000, cpuQuota: 150_000, pids: 300, tmpBytes: 1_000_000 },
  labels: { [LABELS.role]: 'agent', [LABELS.run]: 'forged' },
  extraHosts: ['host.docker.internal:host-gateway'],
}

test('who and where', () => {
  const options = dockerOptions(spec, 'prod')
  assert.equal(options.name, 'mgx-agent-s1')
  assert.equal(options.Image, 'mgx:latest')
  assert.equal(options.User, '1000:1001')
  assert.deepEqual(options.Env, ['SESSION_ID=s1', 'HOME=/home/agent'])
  assert.equal(options.Cmd, undefined)
  assert.equal(options.Entrypoint, undefined)
  assert.deepEqual(options.Labels, {
    'dev.mgx.managed': 'true',
    'dev.mgx.installation': 'prod',
    'dev.mgx.session': 's1',
    'dev.mgx.run': 'r1',
    'dev.mgx.workspace': 'w1',
    'dev.mgx.role': 'agent',
  })
})

test('the job line has one way in, and ends', () => {
  const { OpenStdin, StdinOnce, AttachStdin, AttachStdout, AttachStderr, Tty, StopSignal } = dockerOptions(spec, 'prod')
  assert.deepEqual(
    { OpenStdin, StdinOnce, AttachStdin, AttachStdout, AttachStderr, Tty, StopSignal },
    {
      OpenStdin: true,
      StdinOnce: true,
      AttachStdin: true,
      AttachStdout: false,
      AttachStderr: false,
      Tty: false,
      StopSignal: 'SIGTERM',
    },
  )
})

test('hardening: everything that the security chapter lists, and nothing that would undo it', () => {
  assert.deepEqual(dockerOptions(spec, 'prod').HostConfig, {
    AutoRemove: false,
    RestartPolicy: { Name: 'no' },
    CapDrop: ['ALL'],
    SecurityOpt: ['no-new-privileges'],
    Privileged: false,
    IpcMode: 'private',
    ReadonlyRootfs: true,
    Tmpfs: {
      '/tmp': 'rw,exec,nosuid,nodev,size=1000000,mode=1777',
      '/home/agent': 'rw,exec,nosuid,nodev,size=1000000,mode=700,uid=1000,gid=1001',
    },
    Mounts: [
      { Type: 'bind', Source: '/there/w1', Target: '/workspace', ReadOnly: false },
      { Type: 'bind', Source: '/there/.mgx/abc', Target: '/run/mgx', ReadOnly: true },
    ],
    Memory: 2_000_000_000,
    MemorySwap: 2_000_000_000,
    CpuPeriod: 100_000,
    CpuQuota: 150_000,
    CpuShares: 1536,
    PidsLimit: 300,
    Ulimits: [{ Name: 'core', Soft: 0, Hard: 0 }],
    NetworkMode: 'agents',
    ExtraHosts: ['host.docker.internal:host-gateway'],
    LogConfig: { Type: 'json-file', Config: { 'max-size': '32m', 'max-file': '2' } },
  })
})

test('without a gateway directory there is one mount; a user without a group is its own', () => {
  const { gatewayDir: _, ...direct } = spec
  const { HostConfig } = dockerOptions({ ...direct, user: '7' }, 'prod')
  assert.equal(HostConfig?.Mounts?.length, 1)
  assert.match(HostConfig?.Tmpfs?.['/home/agent'] ?? '', /uid=7,gid=7$/)
})
