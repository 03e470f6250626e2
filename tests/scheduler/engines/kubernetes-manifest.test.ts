import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { containerName, ID_PATTERN } from '#contracts/ids.ts'
import { LABELS } from '#contracts/labels.ts'
import type { SandboxSpec } from '#scheduler/engines/engine.ts'
import { type PodSettings, podManifest } from '#scheduler/engines/kubernetes-manifest.ts'
import { labelValue, podName } from '#scheduler/engines/kubernetes-names.ts'

const SPEC: SandboxSpec = {
  session_id: 'demo-1',
  run_id: '0198f6d2-0000-7000-8000-000000000001',
  tenant_id: 'default',
  workspace_id: 'Shop_.',
  name: 'mgx-agent-demo-1',
  image: 'registry.example/mgx:1',
  user: '1000:1001',
  workspace: { path: '/w/Shop_.', hostPath: '/host/w/Shop_.' },
  env: { SESSION_ID: 'demo-1' },
  network: 'bridge',
  limits: { memoryBytes: 2 ** 31, cpuQuota: 150_000, pids: 512, tmpBytes: 2 ** 30 },
  labels: { [LABELS.role]: 'agent', [LABELS.expiresAt]: '2026-01-01T00:10:00.000Z' },
  extraHosts: [],
}
const SETTINGS: PodSettings = { installation: 'test', cpuShare: 0.25, stopGraceMs: 10_000 }
const NOW = new Date('2026-01-01T00:00:00Z')

const manifest = (spec: Partial<SandboxSpec> = {}, settings: Partial<PodSettings> = {}) =>
  podManifest({ ...SPEC, ...spec }, { ...SETTINGS, ...settings }, NOW)

const container = (pod = manifest()) => {
  const [only, ...rest] = pod.spec.containers
  assert.ok(only && rest.length === 0)
  return only
}

describe('the manifest of a pod', () => {
  test('every default of the security chapter is in it', () => {
    const { spec } = manifest()
    assert.equal(spec.automountServiceAccountToken, false)
    assert.equal(spec.enableServiceLinks, false)
    assert.deepEqual([spec.hostNetwork, spec.hostPID, spec.hostIPC], [false, false, false])
    assert.deepEqual(spec.securityContext, {
      runAsNonRoot: true,
      runAsUser: 1000,
      runAsGroup: 1001,
      fsGroup: 1001,
      fsGroupChangePolicy: 'OnRootMismatch',
      seccompProfile: { type: 'RuntimeDefault' },
    })
    assert.deepEqual(container().securityContext, {
      allowPrivilegeEscalation: false,
      privileged: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ['ALL'] },
    })
  })

  test('it runs once, told by standard input, which ends with that', () => {
    assert.equal(manifest().spec.restartPolicy, 'Never')
    const { stdin, stdinOnce, tty } = container()
    assert.deepEqual({ stdin, stdinOnce, tty }, { stdin: true, stdinOnce: true, tty: false })
    assert.equal(container().imagePullPolicy, 'IfNotPresent')
  })

  test('memory is promised whole, CPU in part', () => {
    assert.deepEqual(container().resources, {
      limits: { memory: '2147483648', cpu: '1500m' },
      requests: { memory: '2147483648', cpu: '375m' },
    })
  })

  test('/tmp and the home are in memory and have a size', () => {
    const sized = { medium: 'Memory', sizeLimit: '1073741824' }
    assert.deepEqual(manifest().spec.volumes.slice(1), [
      { name: 'tmp', emptyDir: sized },
      { name: 'home', emptyDir: sized },
    ])
    assert.deepEqual(
      container().volumeMounts.map(({ mountPath }) => mountPath),
      ['/workspace', '/tmp', '/home/agent'],
    )
  })

  test('a workspace is a directory of the claim, or a path of the node', () => {
    const [onNode] = manifest().spec.volumes
    assert.deepEqual(onNode, { name: 'workspace', hostPath: { path: '/host/w/Shop_.', type: 'Directory' } })
    const claimed = manifest({}, { claim: 'workspaces' })
    assert.deepEqual(claimed.spec.volumes[0], {
      name: 'workspace',
      persistentVolumeClaim: { claimName: 'workspaces' },
    })
    assert.deepEqual(container(claimed).volumeMounts[0], {
      name: 'workspace',
      mountPath: '/workspace',
      subPath: 'Shop_.',
    })
  })

  test('the cluster ends it some time after the worker should have', () => {
    assert.equal(manifest().spec.activeDeadlineSeconds, 600 + 120)
    assert.equal(manifest({ labels: {} }).spec.activeDeadlineSeconds, undefined)
    assert.equal(manifest({}, { stopGraceMs: 1_500 }).spec.terminationGracePeriodSeconds, 2)
  })

  test('labels are what Kubernetes allows, annotations what they stand for', () => {
    const { labels, annotations } = manifest().metadata
    assert.equal(labels[LABELS.session], 'demo-1')
    assert.equal(labels[LABELS.workspace], labelValue('Shop_.'))
    assert.equal(annotations[LABELS.workspace], 'Shop_.')
    assert.equal(labels[LABELS.expiresAt], undefined)
    assert.equal(annotations[LABELS.expiresAt], '2026-01-01T00:10:00.000Z')
  })

  test('a runtime class, a pull secret and names of hosts are there when asked for', () => {
    const { spec } = manifest({ extraHosts: ['db:10.0.0.1'] }, { runtimeClass: 'gvisor', pullSecret: 'registry' })
    assert.equal(spec.runtimeClassName, 'gvisor')
    assert.deepEqual(spec.imagePullSecrets, [{ name: 'registry' }])
    assert.deepEqual(spec.hostAliases, [{ ip: '10.0.0.1', hostnames: ['db'] }])
  })
})

describe('names', () => {
  const ids = fc.stringMatching(ID_PATTERN).filter((id) => !id.includes('..'))

  test('what Kubernetes allows stays as it is', () => {
    assert.equal(podName(containerName('demo-1')), 'mgx-agent-demo-1')
    assert.equal(labelValue('Demo_1.x'), 'Demo_1.x')
  })

  test('any id becomes a name that Kubernetes allows, and a label value', () => {
    fc.assert(
      fc.property(ids, (id) => {
        assert.match(podName(containerName(id)), /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/)
        assert.match(labelValue(id), /^[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?$/)
      }),
    )
  })

  test('two ids never share a name: not by case, not by what is cut off, not by looking like a changed one', () => {
    const alike = ['Demo', 'demo', 'demo_', 'demo.', 'a'.repeat(62), 'a'.repeat(63), 'a_b', 'a.b', 'a-b']
    const tricky = [...alike, ...alike.map((id) => podName(containerName(id)).slice('mgx-agent-'.length))]
    const different = [...new Set(tricky)]
    assert.equal(new Set(different.map((id) => podName(containerName(id)))).size, different.length)
    const labels = [...new Set([...alike, ...alike.map(labelValue)])]
    assert.equal(new Set(labels.map(labelValue)).size, labels.length)
  })
})
