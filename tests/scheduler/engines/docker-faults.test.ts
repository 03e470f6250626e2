import assert from 'node:assert/strict'
import { access, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { LABELS } from '#contracts/labels.ts'
import { createDockerEngine } from '#scheduler/engines/docker.ts'
import { dockerOptions } from '#scheduler/engines/docker-options.ts'
import { waitForExit } from '#scheduler/engines/docker-wait.ts'
import type { SandboxSpec } from '#scheduler/engines/engine.ts'
import { type Ground, leaveFile, openGround, rejectsWith, soon, startSteps } from '../../conformance/engine-bench.ts'
import { freeze } from '../../services/freeze.ts'
import { type DockerBench, noDocker, openDockerBench, silent } from './docker-bench.ts'
import { dieWhileStarting } from './dying-worker.ts'

describe('docker: faults', { skip: noDocker }, () => {
  let ground: Ground
  let bench: DockerBench

  before(async () => {
    ground = await openGround(async () => {
      bench = await openDockerBench()
      return bench
    })
  })
  after(() => ground?.[Symbol.asyncDispose]())

  const start = (spec: SandboxSpec) => startSteps(ground, ground.engine, spec, [])
  const nameIsFree = async ({ name }: SandboxSpec): Promise<void> => {
    await assert.rejects(bench.docker.getContainer(name).inspect(), { statusCode: 404 })
  }

  test('a workspace that the daemon does not see', async () => {
    const spec = await ground.newSpec()
    const hostPath = join(spec.workspace.path, 'elsewhere')
    const { remediation } = await rejectsWith(
      'workspace_unavailable',
      start({ ...spec, workspace: { ...spec.workspace, hostPath } }),
    )
    assert.match(remediation, /HOST_WORKSPACES_ROOT/)
    assert.ok(remediation.includes(hostPath))
    await assert.rejects(access(hostPath), 'the daemon must not have made it')
    await nameIsFree(spec)
  })

  test('a workspace that is a file, a gateway directory that is missing', async () => {
    const spec = await ground.newSpec()
    const file = join(spec.workspace.path, 'file')
    await writeFile(file, '')
    const gateway = join(spec.workspace.path, 'no-gateway')
    await rejectsWith('workspace_unavailable', start({ ...spec, workspace: { path: file, hostPath: join(file, 'w') } }))
    await rejectsWith('workspace_unavailable', start({ ...spec, gatewayDir: { path: gateway, hostPath: gateway } }))
    await nameIsFree(spec)
  })

  test('what fails between create and start is removed: no such network, no such user', async () => {
    const spec = await ground.newSpec()
    const { remediation } = await rejectsWith('start_failed', start({ ...spec, network: 'mgx-test-no-network' }))
    assert.match(remediation, /AGENT_NETWORK/)
    await nameIsFree(spec)
    await rejectsWith('start_failed', start({ ...spec, user: 'nobody-knows-me' }))
    await nameIsFree(spec)
  })

  for (const [whose, Labels] of [
    ['nobody of ours', {}],
    ['another installation', { [LABELS.managed]: 'true', [LABELS.installation]: 'another' }],
  ] as const) {
    test(`the name is in use by a container of ${whose}: said, and not touched`, async (t) => {
      const spec = await ground.newSpec()
      const foreign = await bench.docker.createContainer({ name: spec.name, Image: bench.image, Labels })
      t.after(() => foreign.remove({ force: true }))
      const error = await rejectsWith('start_failed', start(spec))
      assert.ok(error.message.includes(spec.name) && error.message.includes(foreign.id.slice(0, 12)))
      assert.match(error.remediation, /another session id/)
      await ground.engine.stop(spec, 100)
      await ground.engine.remove(spec)
      await foreign.inspect()
    })
  }

  test('the same run in another installation is another run', async () => {
    const spec = await ground.newSpec()
    const options = { ...dockerOptions(spec, 'another'), name: `${spec.name}-of-another` }
    const foreign = await bench.docker.createContainer(options)
    try {
      assert.equal(await ground.engine.find(spec), undefined)
      const ids = (await ground.engine.list()).map(({ containerId }) => containerId)
      assert.ok(!ids.includes(foreign.id))
      await ground.engine.remove(spec)
      assert.equal((await start(spec)).adopted, false)
      await foreign.inspect()
    } finally {
      await foreign.remove({ force: true })
    }
  })

  test('the daemon is down: every call says so and what to do', async () => {
    const spec = await ground.newSpec()
    const docker = { socketPath: join(spec.workspace.path, 'no.sock') }
    const engine = createDockerEngine({ docker, installation: 'test', log: silent })
    const { remediation } = await rejectsWith('engine_unavailable', engine.check())
    assert.match(remediation, /Start Docker/)
    await rejectsWith('engine_unavailable', engine.engineId())
    await rejectsWith('engine_unavailable', startSteps(ground, engine, spec, []))
  })

  test('two workers start one run: one container, which both know', async () => {
    const spec = await ground.newSpec()
    const results = await Promise.all([start(spec), startSteps(ground, ground.reopen(), spec, []), start(spec)])
    assert.equal(new Set(results.map(({ containerId }) => containerId)).size, 1)
    assert.deepEqual(results.map(({ adopted }) => adopted).sort(), [false, true, true])
  })

  test('a start that is given up at any moment leaves nothing', async () => {
    for (const ms of [0, 2, 5, 10, 20, 40, 80, 120]) {
      const spec = await ground.newSpec()
      const signal = AbortSignal.timeout(ms)
      const outcome = await startSteps(ground, ground.engine, spec, [], signal).catch((error: unknown) => error)
      if (outcome === signal.reason) await nameIsFree(spec)
      else assert.ok(typeof outcome === 'object' && outcome !== null && 'containerId' in outcome, String(outcome))
    }
  })

  test('a container whose creator died before the start is shown as such, and replaced', async () => {
    const spec = await ground.newSpec()
    const unstarted = await bench.docker.createContainer(dockerOptions(spec, bench.installation))
    assert.equal((await ground.engine.find(spec))?.started, false)
    const daemon = { docker: bench.docker, installation: bench.installation }
    assert.deepEqual(await waitForExit(daemon, spec, soon(), 200), { code: null, reason: 'lost' })
    const { containerId, adopted } = await start(spec)
    assert.equal(adopted, false)
    assert.notEqual(containerId, unstarted.id)
    assert.deepEqual(await ground.engine.wait(spec, soon()), { code: 0, reason: 'exited' })
  })

  test('a worker that dies before it wrote the job line: the runner sees the end of its input', async () => {
    const spec = await ground.newSpec()
    await dieWhileStarting({ kind: 'docker', installation: bench.installation, spec })
    assert.equal((await ground.engine.find(spec))?.started, true)
    assert.deepEqual(await ground.engine.wait(spec, soon()), { code: 66, reason: 'exited' })
  })

  test('a connection that breaks while the daemon lives: waiting goes on', async () => {
    const spec = await ground.newSpec()
    await startSteps(ground, ground.engine, spec, [
      { do: 'awaitFile', file: 'go' },
      { do: 'exit', code: 8 },
    ])
    const waiting = ground.engine.wait(spec, soon())
    await sleep(300)
    await bench.outage?.begin()
    await bench.outage?.end()
    await sleep(300)
    await leaveFile(spec, 'go')
    assert.deepEqual(await waiting, { code: 8, reason: 'exited' })
  })

  test('somebody removes the container: who waits is told how it ended', async () => {
    const spec = await ground.newSpec()
    const { containerId } = await startSteps(ground, ground.engine, spec, [{ do: 'hang' }])
    const waiting = ground.engine.wait(spec, soon())
    await sleep(300)
    await bench.docker.getContainer(containerId).remove({ force: true })
    assert.deepEqual(await waiting, { code: 137, reason: 'killed' })
  })

  test('a container that somebody paused or renamed is stopped and removed all the same', async () => {
    const spec = await ground.newSpec()
    const { containerId } = await startSteps(ground, ground.engine, spec, [{ do: 'onTerm', code: 4 }, { do: 'hang' }])
    const container = bench.docker.getContainer(containerId)
    await container.rename({ name: `${spec.name}-renamed` })
    await freeze(container)
    assert.equal((await ground.engine.find(spec))?.running, true)
    await ground.engine.stop(spec, 20_000)
    assert.deepEqual(await ground.engine.wait(spec, soon()), { code: 4, reason: 'exited' })
    await ground.engine.remove(spec)
    await assert.rejects(container.inspect(), { statusCode: 404 })
  })

  test('starts at once are as many as allowed, not more', async () => {
    const engine = createDockerEngine({
      docker: bench.docker,
      installation: bench.installation,
      startConcurrency: 1,
      log: silent,
    })
    const filters = { label: [`${LABELS.installation}=${bench.installation}`], event: ['create', 'start'] }
    const since = Math.floor(Date.now() / 1000)
    const specs = await Promise.all([ground.newSpec(), ground.newSpec(), ground.newSpec()])
    const started = await Promise.all(specs.map((spec) => startSteps(ground, engine, spec, [])))
    const ids = new Set(started.map(({ containerId }) => containerId))
    const stream = await bench.docker.getEvents({ since, until: Math.ceil(Date.now() / 1000) + 1, filters })
    const text = Buffer.concat(await Array.fromAsync(stream as AsyncIterable<Buffer>)).toString()
    const events = text
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { status: string; id: string })
    const order = events.filter(({ id }) => ids.has(id)).map(({ status }) => status)
    assert.deepEqual(order, ['create', 'start', 'create', 'start', 'create', 'start'])
  })
})
