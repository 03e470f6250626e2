import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { describe, test } from 'node:test'
import { KUBERNETES_RULES } from '#scheduler/engines/kubernetes-rules.ts'
import { openGround, rejectsWith, soon, startSteps } from '../../conformance/engine-bench.ts'
import { freePort, tempDir, waitFor } from '../../helpers.ts'
import { makeUser, openNamespace, writeKubeconfig } from '../../services/kubernetes.ts'
import { type KubernetesBench, noCluster, openKubernetesBench, testAdmin } from './kubernetes-bench.ts'

const RESTRICTED = { 'pod-security.kubernetes.io/enforce': 'restricted' }

const GIB = '1Gi'

/** A volume on the node's own disk, already promised to the claim. */
const makeClaim = async ({ admin, ns }: KubernetesBench, name: string, path: string): Promise<AsyncDisposable> => {
  const volume = `${ns.name}-${name}`
  const accessModes = ['ReadWriteMany']
  await admin.ask('POST', '/api/v1/persistentvolumes', {
    metadata: { name: volume },
    spec: {
      capacity: { storage: GIB },
      accessModes,
      hostPath: { path },
      storageClassName: '',
      claimRef: { namespace: ns.name, name },
      persistentVolumeReclaimPolicy: 'Retain',
    },
  })
  await admin.ask('POST', ns.path('persistentvolumeclaims'), {
    metadata: { name },
    spec: { accessModes, storageClassName: '', resources: { requests: { storage: GIB } } },
  })
  await waitFor(async () => {
    const claim = await admin.ask<{ status: { phase: string } }>('GET', ns.path('persistentvolumeclaims', name))
    return claim.status.phase === 'Bound'
  })
  return {
    async [Symbol.asyncDispose]() {
      await admin.ask('DELETE', `/api/v1/persistentvolumes/${volume}`)
    },
  }
}

describe('kubernetes: whether it can work here', { skip: noCluster }, () => {
  test('no kubeconfig, and no cluster at its address', async (t) => {
    const bench = await openKubernetesBench()
    t.after(() => bench[Symbol.asyncDispose]())
    const none = bench.open({ kubeconfig: '/nowhere/kubeconfig' })
    assert.match((await rejectsWith('engine_unavailable', none.check())).message, /nowhere/)
    const dead = await writeKubeconfig(bench.admin, await tempDir(t), 'token', await freePort())
    const error = await rejectsWith('engine_unavailable', bench.open({ kubeconfig: dead }).check())
    assert.match(error.message, /cannot be reached/)
    const other = await rejectsWith('engine_unavailable', bench.open({ context: 'nobody' }).check())
    assert.match(other.message, /"nobody"/)
  })

  test('credentials that the cluster does not accept', async (t) => {
    const admin = testAdmin()
    const dir = await tempDir(t)
    await using bench = await openKubernetesBench()
    const { port } = new URL(JSON.parse(await readFile(bench.kubeconfig, 'utf8')).clusters[0].cluster.server)
    const kubeconfig = await writeKubeconfig(admin, dir, 'expired', Number(port))
    const error = await rejectsWith('engine_unavailable', bench.open({ kubeconfig }).check())
    assert.match(error.message, /credentials/)
    assert.match(error.remediation, /Renew/)
  })

  test('every right that is missing is named', async (t) => {
    const admin = testAdmin()
    await using bench = await openKubernetesBench()
    await using ns = await openNamespace(admin)
    const rules = { ...KUBERNETES_RULES, pods: ['create', 'get', 'list', 'watch'], 'pods/log': [] }
    const { port } = new URL(JSON.parse(await readFile(bench.kubeconfig, 'utf8')).clusters[0].cluster.server)
    const token = await makeUser(admin, ns, rules)
    const kubeconfig = await writeKubeconfig(admin, await tempDir(t), token, Number(port))
    const engine = bench.open({ kubeconfig, namespace: ns.name })
    const error = await rejectsWith('engine_unavailable', engine.check())
    assert.match(error.message, /: delete pods, patch pods, get pods\/log$/)
  })

  test('a namespace that is not there', async () => {
    await using bench = await openKubernetesBench()
    const missing = bench.open({ namespace: 'mgx-test-nowhere', kubeconfig: process.env.KUBECONFIG ?? '' })
    const error = await rejectsWith('engine_unavailable', missing.check())
    assert.match(error.message, /namespace mgx-test-nowhere does not exist/)
  })

  test('a claim that is not there, and one that no storage class serves', async () => {
    await using bench = await openKubernetesBench()
    const absent = await rejectsWith('workspace_unavailable', bench.open({ claim: 'absent' }).check())
    assert.match(absent.message, /does not exist/)
    await bench.admin.ask('POST', bench.ns.path('persistentvolumeclaims'), {
      metadata: { name: 'unserved' },
      spec: {
        accessModes: ['ReadWriteMany'],
        storageClassName: 'no-such-class',
        resources: { requests: { storage: GIB } },
      },
    })
    await waitFor(async () => {
      const error = await rejectsWith('workspace_unavailable', bench.open({ claim: 'unserved' }).check())
      assert.match(error.message, /storage class "no-such-class"/)
      return /not found/.test(error.message)
    })
  })

  test('PodSecurity restricted: paths of the node are refused, workspaces on a claim are not', async () => {
    let bench: KubernetesBench | undefined
    await using ground = await openGround(async () => {
      bench = await openKubernetesBench({ labels: RESTRICTED })
      return bench
    })
    assert.ok(bench)
    const refused = await rejectsWith('start_failed', bench.engine.check())
    assert.match(refused.message, /violates PodSecurity/)
    assert.match(refused.remediation, /KUBERNETES_WORKSPACE_CLAIM/)

    const spec = await ground.newSpec()
    await using _volume = await makeClaim(bench, 'workspaces', dirname(spec.workspace.path))
    const engine = bench.open({ claim: 'workspaces' })
    await engine.check()
    await startSteps(ground, engine, spec, [{ do: 'write', file: 'made.txt', text: 'on the claim' }])
    assert.deepEqual(await engine.wait(spec, soon()), { code: 0, reason: 'exited' })
    assert.equal(await readFile(join(spec.workspace.path, 'made.txt'), 'utf8'), 'on the claim')
    await engine.remove(spec)
  })
})
