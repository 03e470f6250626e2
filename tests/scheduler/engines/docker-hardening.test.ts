import assert from 'node:assert/strict'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { LABELS } from '#contracts/labels.ts'
import type { SandboxSpec } from '#scheduler/engines/engine.ts'
import { type Ground, openGround, readLogs, soon, startSteps } from '../../conformance/engine-bench.ts'
import { type DockerBench, noDocker, openDockerBench } from './docker-bench.ts'

describe('docker: hardening', { skip: noDocker }, () => {
  let ground: Ground
  let bench: DockerBench
  let dir: string

  before(async () => {
    dir = await mkdtemp(join(tmpdir(), 'mgx-gateway-'))
    ground = await openGround(async () => {
      bench = await openDockerBench()
      return bench
    })
  })
  after(async () => {
    await ground?.[Symbol.asyncDispose]()
    await rm(dir, { recursive: true, force: true })
  })

  const withGateway = async (): Promise<SandboxSpec> => {
    const path = join(dir, 'run')
    await mkdir(path, { recursive: true, mode: 0o755 })
    await writeFile(join(path, 'hello'), 'from the worker')
    return ground.newSpec({ gatewayDir: { path, hostPath: path }, labels: { [LABELS.role]: 'agent' } })
  }

  /** What a line of shell prints inside. */
  const inside = async (spec: SandboxSpec, line: string): Promise<string> => {
    const { engine } = ground
    await engine.start(spec, () => `${line}\n`, soon())
    await engine.wait(spec, soon())
    const text = await readLogs(engine, spec)
    await engine.remove(spec)
    return text
  }

  test('docker inspect shows every default', async () => {
    const spec = await withGateway()
    const { containerId } = await startSteps(ground, ground.engine, spec, [])
    const { Config, HostConfig, Name, Mounts } = await bench.docker.getContainer(containerId).inspect()
    assert.equal(Name, `/${spec.name}`)
    assert.equal(Config.User, '1000:1000')
    assert.equal(Config.Labels[LABELS.installation], bench.installation)
    assert.equal(Config.Labels[LABELS.role], 'agent')
    assert.equal(Config.OpenStdin && Config.StdinOnce && !Config.Tty, true)
    assert.deepEqual(HostConfig.CapDrop, ['ALL'])
    assert.equal(HostConfig.CapAdd, null)
    assert.deepEqual(HostConfig.SecurityOpt, ['no-new-privileges'])
    assert.equal(HostConfig.Privileged, false)
    assert.equal(HostConfig.ReadonlyRootfs, true)
    assert.equal(HostConfig.Memory, spec.limits.memoryBytes)
    assert.equal(HostConfig.MemorySwap, spec.limits.memoryBytes)
    assert.equal(HostConfig.CpuPeriod, 100_000)
    assert.equal(HostConfig.CpuQuota, 100_000)
    assert.equal(HostConfig.CpuShares, 1024)
    assert.equal(HostConfig.PidsLimit, 64)
    assert.equal(HostConfig.Binds, null)
    assert.equal(HostConfig.AutoRemove, false)
    assert.ok(!HostConfig.Init)
    assert.equal(HostConfig.RestartPolicy?.Name, 'no')
    assert.equal(HostConfig.NetworkMode, 'none')
    assert.deepEqual(HostConfig.LogConfig, { Type: 'json-file', Config: { 'max-file': '2', 'max-size': '32m' } })
    const mounts = Mounts.map(({ Source, Destination, RW }) => `${Source} ${Destination} ${RW}`)
    assert.deepEqual(
      mounts.sort(),
      [`${spec.gatewayDir?.hostPath} /run/mgx false`, `${spec.workspace.hostPath} /workspace true`].sort(),
    )
  })

  test('from inside: no root, no capability, no new privileges, seccomp on, no core files', async () => {
    const text = await inside(await withGateway(), 'id; cat /proc/self/status; echo core=$(ulimit -H -c)')
    assert.match(text, /^uid=1000 gid=1000 groups=1000$/m)
    for (const set of ['CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb'])
      assert.match(text, new RegExp(`^${set}:\\t0+$`, 'm'))
    assert.match(text, /^NoNewPrivs:\t1$/m)
    assert.match(text, /^Seccomp:\t2$/m)
    assert.match(text, /^core=0$/m)
  })

  test('from inside: what can be written, and what cannot', async () => {
    const tries = ['/', '/bin', '/etc', '/run/mgx', '/sys', '/workspace', '/tmp', '$HOME']
    const line = tries.map(
      (path) => `if touch ${path}/t 2>/dev/null; then echo "${path} yes"; else echo "${path} no"; fi`,
    )
    const text = await inside(
      await withGateway(),
      `${line.join('; ')}; cat /run/mgx/hello; ls /var/run/docker.sock 2>&1`,
    )
    for (const path of ['/', '/bin', '/etc', '/run/mgx', '/sys']) assert.match(text, new RegExp(`^${path} no$`, 'm'))
    for (const path of ['/workspace', '/tmp', '/home/agent']) assert.match(text, new RegExp(`^${path} yes$`, 'm'))
    assert.match(text, /from the worker/)
    assert.match(text, /docker.sock.*No such file/)
  })

  test('from inside: /tmp and HOME run programs, take no set-uid, and are full at their size', async () => {
    const big = 'head -c 20000000 /dev/zero'
    const line = [
      'cat /proc/mounts',
      'for d in /tmp $HOME; do cat /bin/id > $d/id; chmod 4755 $d/id; echo ran $($d/id -u) in $d; done',
      `${big} > /tmp/big || echo tmp full; : > /tmp/big`,
      `${big} > $HOME/big || echo home full`,
    ]
    const text = await inside(await withGateway(), line.join('; '))
    for (const path of ['/tmp', '/home/agent']) {
      const flags = text.match(new RegExp(`^tmpfs ${path} tmpfs (\\S+)`, 'm'))?.[1]?.split(',') ?? []
      assert.ok(flags.includes('nosuid') && flags.includes('nodev') && !flags.includes('noexec'), `${path}: ${flags}`)
    }
    assert.match(text, /^ran 1000 in \/tmp$/m)
    assert.match(text, /^ran 1000 in \/home\/agent$/m)
    assert.match(text, /^tmp full$/m)
    assert.match(text, /^home full$/m)
  })

  test('from inside: the environment is what the spec says and HOME', async () => {
    const text = await inside(await withGateway(), 'env')
    const names = text
      .split('\n')
      .filter(Boolean)
      .map((line) => line.split('=')[0])
    assert.deepEqual(
      names.filter((name) => !['PATH', 'HOSTNAME', 'PWD', 'OLDPWD', '_', 'SHLVL'].includes(name ?? '')).sort(),
      ['FRAMEWORK', 'HOME'],
    )
  })

  test('any user can work: HOME belongs to whom the spec says', async () => {
    const spec = await ground.newSpec({ user: '4711:4712' })
    const text = await inside(spec, 'id; stat -c "%u:%g %a" $HOME; touch $HOME/a && echo wrote')
    assert.match(text, /uid=4711 gid=4712/)
    assert.match(text, /^4711:4712 700$/m)
    assert.match(text, /^wrote$/m)
  })

  test('the limit of memory is kept: beyond it a run ends as oom', async () => {
    const spec = await ground.newSpec()
    await ground.engine.start(spec, () => 'head -c 300000000 /dev/zero | tail; exit $?\n', soon())
    assert.deepEqual(await ground.engine.wait(spec, soon()), { code: 137, reason: 'oom' })
  })

  test('a child that runs out of memory in a run that goes on to succeed is no oom', async () => {
    const spec = await ground.newSpec()
    await ground.engine.start(spec, () => 'head -c 300000000 /dev/zero | tail; exit 0\n', soon())
    assert.deepEqual(await ground.engine.wait(spec, soon()), { code: 0, reason: 'exited' })
  })
})
