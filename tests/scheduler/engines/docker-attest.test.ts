import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { attestationOf } from '#scheduler/attestation.ts'
import { factsOf } from '#scheduler/engines/docker-attest.ts'
import { dockerOptions } from '#scheduler/engines/docker-options.ts'
import type { SandboxFacts, SandboxSpec } from '#scheduler/engines/engine.ts'
import { type Ground, openGround, startSteps } from '../../conformance/engine-bench.ts'
import { type DockerBench, noDocker, openDockerBench } from './docker-bench.ts'

const about = { engine: 'docker', quota: { kind: 'none' }, readAt: new Date(0) } as const

const gapsOf = (spec: SandboxSpec, facts: SandboxFacts | undefined): string[] => {
  assert.ok(facts)
  return attestationOf(spec, facts, about).checks.flatMap(({ ok, name }) => (ok ? [] : [name]))
}

describe('docker: what holds a container, read from the kernel', { skip: noDocker }, () => {
  let ground: Ground
  let bench: DockerBench

  before(async () => {
    ground = await openGround(async () => {
      bench = await openDockerBench()
      return bench
    })
  })
  after(() => ground?.[Symbol.asyncDispose]())

  const byExec = (containerId: string) => factsOf(bench, containerId, async () => undefined)

  test('everything that was asked is enforced, and both ways of reading say the same', async () => {
    const spec = await ground.newSpec()
    const { containerId } = await startSteps(ground, ground.engine, spec, [{ do: 'hang' }])
    const host = await ground.engine.attest(spec)
    const exec = await byExec(containerId)
    assert.ok(host?.kind === 'container' && exec?.kind === 'container')
    if (process.getuid?.() === 0) assert.equal(host.source, 'host')
    assert.equal(exec.source, 'exec')
    assert.deepEqual(gapsOf(spec, host), [])
    assert.deepEqual(attestationOf(spec, host, about).checks, attestationOf(spec, exec, about).checks)
    const { checks } = attestationOf(spec, exec, about)
    const enforced = Object.fromEntries(checks.map(({ name, enforced }) => [name, enforced]))
    assert.equal(enforced.memory_bytes, spec.limits.memoryBytes)
    assert.equal(enforced.pids, spec.limits.pids)
    assert.equal(enforced.cpu_quota, spec.limits.cpuQuota)
    assert.equal(enforced.tmp_bytes, spec.limits.tmpBytes)
    assert.equal(enforced.network, 'none')
    assert.equal(enforced.mounts, '/workspace rw')
  })

  test('of a container that nothing holds every check fails', async () => {
    const spec = await ground.newSpec({ user: '1000:1000' })
    const { Mounts = [] } = dockerOptions(spec, bench.installation).HostConfig ?? {}
    const container = await bench.docker.createContainer({
      ...dockerOptions(spec, bench.installation),
      User: '0:0',
      Entrypoint: ['sleep', '600'],
      HostConfig: {
        Mounts: [...Mounts, { Type: 'bind', Source: '/etc', Target: '/host-etc' }],
        SecurityOpt: ['seccomp=unconfined'],
        NetworkMode: 'host',
        IpcMode: 'host',
        GroupAdd: ['4'],
      },
    })
    await container.start()
    const facts = await byExec(container.id)
    const all = attestationOf(spec, facts as SandboxFacts, about).checks.map(({ name }) => name)
    const gaps = gapsOf(spec, facts)
    // Where the kernel does not count swap, a machine without any lends none.
    assert.deepEqual(
      all.filter((name) => !gaps.includes(name) && name !== 'swap_bytes'),
      [],
    )
    await container.remove({ force: true })
  })
})
