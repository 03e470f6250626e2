import assert from 'node:assert/strict'
import { rm } from 'node:fs/promises'
import { after, before, describe, test } from 'node:test'
import type { SandboxSpec } from '#scheduler/engines/engine.ts'
import { connectKubernetes } from '#scheduler/engines/kubernetes-connect.ts'
import { endByDeadline, removePod } from '#scheduler/engines/kubernetes-end.ts'
import { createCluster, deletePod, podsOf } from '#scheduler/engines/kubernetes-pods.ts'
import {
  type Ground,
  leaveFile,
  openGround,
  readLogs,
  rejectsWith,
  soon,
  startSteps,
} from '../../conformance/engine-bench.ts'
import type { Step } from '../../conformance/shell-runner.ts'
import { waitFor } from '../../helpers.ts'
import { type KubernetesBench, noCluster, openKubernetesBench } from './kubernetes-bench.ts'

const LASTS: readonly Step[] = [{ do: 'onTerm', code: 0 }, { do: 'hang' }]
const GIB = 1024 ** 3

describe('kubernetes: what goes wrong', { skip: noCluster }, () => {
  let ground: Ground
  let bench: KubernetesBench
  before(async () => {
    ground = await openGround(async () => {
      bench = await openKubernetesBench()
      return bench
    })
  })
  after(() => ground?.[Symbol.asyncDispose]())

  const podPath = (spec: SandboxSpec) => bench.ns.path('pods', spec.name)
  const running = async (steps: readonly Step[] = LASTS): Promise<SandboxSpec> => {
    const spec = await ground.newSpec()
    await startSteps(ground, bench.engine, spec, steps)
    return spec
  }
  const says = (spec: SandboxSpec, line: string) => bench.engine.start(spec, () => `${line}\n`, soon())

  test('a pod that is struck off is lost, and nobody knows whether it is dead', async () => {
    const spec = await running()
    const waiting = bench.engine.wait(spec, soon())
    await bench.admin.ask('DELETE', podPath(spec), { gracePeriodSeconds: 0 })
    assert.deepEqual(await waiting, { code: null, reason: 'lost', unproven: true })
  })

  test('a pod that is deleted in order is lost, and known to be dead', async () => {
    const spec = await running()
    const waiting = bench.engine.wait(spec, soon())
    await bench.admin.ask('DELETE', podPath(spec), { gracePeriodSeconds: 2 })
    const { reason, unproven, detail = '' } = await waiting
    assert.deepEqual([reason, unproven], ['lost', undefined])
    assert.match(detail, /deleted/)
  })

  test('an evicted pod is lost, in the words of the cluster', async () => {
    const spec = await running()
    const waiting = bench.engine.wait(spec, soon())
    await bench.admin.ask('POST', `${podPath(spec)}/eviction`, {
      apiVersion: 'policy/v1',
      kind: 'Eviction',
      metadata: { name: spec.name, namespace: bench.ns.name },
    })
    const { reason, unproven, detail = '' } = await waiting
    assert.deepEqual([reason, unproven], ['lost', undefined])
    assert.match(detail, /EvictionByEvictionAPI/)
  })

  test('the last net of the cluster is told from a stop', async () => {
    const spec = await running()
    const waiting = bench.engine.wait(spec, soon())
    await bench.admin.ask('PATCH', podPath(spec), { spec: { activeDeadlineSeconds: 1 } })
    assert.match((await waiting).detail ?? '', /^DeadlineExceeded/)
  })

  test('out of memory: the runner itself, a child of a runner that fails, a child of one that goes on', async () => {
    const [itself, failed, well] = [await ground.newSpec(), await ground.newSpec(), await ground.newSpec()]
    await says(itself, 'exec tail /dev/zero')
    assert.deepEqual(await bench.engine.wait(itself, soon()), { code: 137, reason: 'oom' })
    await says(failed, 'tail /dev/zero; exit 5')
    assert.deepEqual(await bench.engine.wait(failed, soon()), { code: 5, reason: 'oom' })
    await says(well, 'tail /dev/zero; exit 0')
    assert.deepEqual(await bench.engine.wait(well, soon()), { code: 0, reason: 'exited' })
  })

  test('no node has room: the start fails after a while, says what is missing, and leaves nothing', async () => {
    const spec = await ground.newSpec({
      limits: { memoryBytes: 900 * GIB, cpuQuota: 1000, pids: 64, tmpBytes: 1024 ** 2 },
    })
    const engine = bench.open({ patience: { pending: 3000, failing: 3000 } })
    const error = await rejectsWith('start_failed', startSteps(ground, engine, spec, []))
    assert.match(error.message, /Insufficient memory/)
    assert.equal(await engine.find(spec), undefined)
  })

  test('a workspace that the node does not have: the start fails, and names it', async () => {
    const spec = await ground.newSpec()
    await rm(spec.workspace.path, { recursive: true })
    const error = await rejectsWith('workspace_unavailable', startSteps(ground, bench.engine, spec, []))
    assert.ok(error.message.includes(spec.workspace.hostPath), error.message)
    assert.equal(await bench.engine.find(spec), undefined)
  })

  test('no name of an image: the start fails at once', async () => {
    const spec = await ground.newSpec({ image: 'Not a name' })
    await rejectsWith('image_missing', startSteps(ground, bench.engine, spec, []))
  })

  test('a quota that is used up: the start fails with the rule and the remedy', async () => {
    const quota = bench.ns.path('resourcequotas')
    await bench.admin.ask('POST', quota, { metadata: { name: 'none' }, spec: { hard: { pods: '0' } } })
    await waitFor(async () => {
      const { status } = await bench.admin.ask<{ status?: { hard?: object } }>('GET', `${quota}/none`)
      return status?.hard
    })
    try {
      const error = await rejectsWith('start_failed', startSteps(ground, bench.engine, await ground.newSpec(), []))
      assert.match(error.message, /exceeded quota/)
      assert.match(error.remediation, /ResourceQuota/)
    } finally {
      await bench.admin.ask('DELETE', `${quota}/none`)
    }
  })

  test('a start is cut off from the cluster: it says so, and the next one puts that right', async () => {
    const spec = await ground.newSpec()
    const stop = new AbortController()
    const starting = rejectsWith('engine_unavailable', startSteps(ground, bench.engine, spec, LASTS, stop.signal))
    await waitFor(() => bench.admin.ask('GET', podPath(spec)))
    await bench.outage?.begin()
    await starting
    await bench.outage?.end()
    const next = await startSteps(ground, bench.engine, spec, LASTS)
    // Whatever became of the first one: it ran without a line, and is for the caller to remove; or it is gone.
    if (next.adopted) await bench.engine.remove(spec, next.containerId)
    const again = next.adopted ? await startSteps(ground, bench.engine, spec, LASTS) : next
    assert.equal(again.adopted, false)
    assert.equal((await bench.engine.find(spec))?.containerId, again.containerId)
  })

  test('output goes on after cuts in the midst of megabytes: nothing is missing, nothing comes twice', async () => {
    const bytes = 1_500_000
    const spec = await running([
      { do: 'fill', bytes },
      { do: 'printError', text: 'from the other output' },
      { do: 'awaitFile', file: 'go' },
      { do: 'fill', bytes: 17_000 },
    ])
    const chunks: Uint8Array[] = []
    let length = 0
    let cuts = 0
    for await (const chunk of bench.engine.logs(spec, soon())) {
      chunks.push(chunk)
      length += chunk.length
      const isWaiting = length > bytes
      if (length < (cuts + 1) * 400_000 && !isWaiting) continue
      cuts += 1
      await bench.outage?.begin()
      if (isWaiting) await leaveFile(spec, 'go')
      await bench.outage?.end()
    }
    const text = Buffer.concat(chunks).toString()
    assert.ok(cuts >= 3, `${cuts} cuts`)
    assert.deepEqual(await bench.engine.wait(spec, soon()), { code: 0, reason: 'exited' })
    assert.equal(text, await readLogs(bench.engine, spec))
  })

  test('a change that is meant for another pod of the same name changes nothing', async () => {
    const spec = await running()
    const api = await connectKubernetes({ namespace: bench.ns.name, kubeconfig: bench.kubeconfig })
    const cluster = createCluster(api, bench.installation)
    const [pod] = await podsOf(cluster, spec)
    assert.ok(pod)
    const former = { ...pod, metadata: { ...pod.metadata, uid: 'that of a former pod' } }
    assert.equal(await endByDeadline(cluster, former), false)
    await deletePod(cluster, former, 0)
    await removePod(cluster, former)
    const found = await bench.engine.find(spec)
    assert.deepEqual([found?.containerId, found?.running], [pod.metadata.uid, true])
  })

  test('any id that mgx allows is a session here, and a workspace', async () => {
    const session_id = `S.-_${'x'.repeat(50)}_`
    const spec = await ground.newSpec({ session_id, workspace_id: `W_${'y'.repeat(50)}.-` })
    const { containerId } = await startSteps(ground, bench.engine, spec, [{ do: 'exit', code: 3 }])
    assert.deepEqual(await bench.engine.wait(spec, soon()), { code: 3, reason: 'exited' })
    const found = await bench.engine.find(spec)
    assert.deepEqual([found?.containerId, found?.session_id], [containerId, session_id])
    assert.equal(found?.workspace_id, spec.workspace_id)
    const like = await ground.newSpec({ session_id: session_id.toLowerCase() })
    assert.equal((await startSteps(ground, bench.engine, like, [])).adopted, false)
  })

  test('a name that belongs to another installation is left alone, and said', async () => {
    const spec = await running()
    const other = bench.open({ installation: 'another' })
    const error = await rejectsWith('start_failed', startSteps(ground, other, spec, []))
    assert.match(error.message, /of the installation "test-/)
    assert.equal((await bench.engine.find(spec))?.running, true)
    assert.deepEqual(await other.list(), [])
  })
})
