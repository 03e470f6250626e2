import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { obstacleOf } from '#scheduler/engines/kubernetes-obstacles.ts'
import type { ContainerState, Pod } from '#scheduler/engines/kubernetes-pods.ts'
import { exitOf, hasStarted, isDead, isRunning, STOPPED } from '#scheduler/engines/kubernetes-state.ts'

const NOW = new Date('2026-01-01T00:10:00Z')
const PATIENCE = { pending: 300_000, failing: 30_000 }

type Made = {
  readonly state?: ContainerState
  readonly status?: Pod['status']
  readonly metadata?: Partial<Pod['metadata']>
  readonly node?: string
}

const pod = ({ state, status, metadata, node = 'node1' }: Made): Pod => ({
  metadata: { name: 'p', uid: 'u', resourceVersion: '1', creationTimestamp: '2026-01-01T00:00:00Z', ...metadata },
  spec: node === '' ? {} : { nodeName: node },
  status: {
    phase: 'Running',
    ...(state && { containerStatuses: [{ name: 'agent', state }] }),
    ...status,
  },
})

const ended = (exitCode: number, reason = 'Error', finishedAt = '2026-01-01T00:09:00Z') => ({
  state: { terminated: { exitCode, reason, finishedAt } },
})
const RUNNING = { state: { running: {} } }

describe('how a pod ended', () => {
  test('while it runs, or waits to, it has not', () => {
    assert.equal(exitOf(pod(RUNNING), NOW), undefined)
    assert.equal(exitOf(pod({ status: { phase: 'Pending' } }), NOW), undefined)
    assert.equal(isRunning(pod(RUNNING)), true)
    assert.equal(hasStarted(pod({ status: { phase: 'Pending' } })), false)
  })

  test('by its exit code, whether or not it was ever seen running', () => {
    assert.deepEqual(exitOf(pod({ ...ended(0, 'Completed'), status: { phase: 'Succeeded' } }), NOW), {
      code: 0,
      reason: 'exited',
    })
    assert.deepEqual(exitOf(pod(ended(137)), NOW), { code: 137, reason: 'killed' })
  })

  test('out of memory when it failed with that, as on Docker: a child may have been the one', () => {
    assert.deepEqual(exitOf(pod(ended(137, 'OOMKilled')), NOW), { code: 137, reason: 'oom' })
    assert.deepEqual(exitOf(pod(ended(5, 'OOMKilled')), NOW), { code: 5, reason: 'oom' })
    assert.deepEqual(exitOf(pod(ended(0, 'OOMKilled')), NOW), { code: 0, reason: 'exited' })
  })

  test('evicted: lost with the reason, and proven dead where its node said so', () => {
    const status = { phase: 'Failed', reason: 'Evicted', message: 'The node was low on resource: memory.' }
    const detail = 'Evicted: The node was low on resource: memory.'
    assert.deepEqual(exitOf(pod({ ...ended(137), status }), NOW), { code: null, reason: 'lost', detail })
    assert.deepEqual(exitOf(pod({ status }), NOW), { code: null, reason: 'lost', detail })
  })

  test('drained: lost, in the words of the cluster', () => {
    const conditions = [{ type: 'DisruptionTarget', status: 'True', reason: 'EvictionByEvictionAPI', message: 'drain' }]
    const drained = pod({ ...ended(143), status: { phase: 'Failed', conditions } })
    assert.equal(exitOf(drained, NOW)?.detail, 'EvictionByEvictionAPI: drain')
  })

  test('the last net is told from a stop of ours', () => {
    const status = { phase: 'Failed', reason: 'DeadlineExceeded', message: 'longer than specified' }
    assert.deepEqual(exitOf(pod({ ...ended(143), status }), NOW), {
      code: 143,
      reason: 'killed',
      detail: 'DeadlineExceeded: longer than specified',
    })
    const annotations = { [STOPPED]: '2026-01-01T00:08:50Z' }
    assert.deepEqual(exitOf(pod({ ...ended(143), status, metadata: { annotations } }), NOW), {
      code: 143,
      reason: 'killed',
    })
  })

  test('deleted while it ran: lost; deleted after its end: as it ended', () => {
    const metadata = { deletionTimestamp: '2026-01-01T00:09:00Z', deletionGracePeriodSeconds: 30 }
    assert.equal(exitOf(pod({ ...ended(0), metadata }), NOW)?.reason, 'lost')
    const early = ended(0, 'Completed', '2026-01-01T00:08:00Z')
    assert.deepEqual(exitOf(pod({ ...early, metadata }), NOW), { code: 0, reason: 'exited' })
  })

  test('a node that does not answer proves nothing', () => {
    const metadata = { deletionTimestamp: '2026-01-01T00:09:00Z', deletionGracePeriodSeconds: 1 }
    const stuck = exitOf(pod({ ...RUNNING, metadata }), NOW)
    assert.deepEqual([stuck?.reason, stuck?.unproven], ['lost', true])
    assert.equal(exitOf(pod({ ...RUNNING, metadata }), new Date('2026-01-01T00:09:20Z')), undefined)
    const conditions = [{ type: 'DisruptionTarget', status: 'True', reason: 'DeletionByPodGC' }]
    const collected = exitOf(pod({ ...RUNNING, status: { phase: 'Failed', conditions } }), NOW)
    assert.deepEqual([collected?.reason, collected?.unproven], ['lost', true])
    assert.equal(isDead(pod(RUNNING)), false)
    assert.equal(isDead(pod({ status: { phase: 'Pending' }, node: '' })), true)
  })
})

describe('why a pod does not run', () => {
  const waiting = (reason: string, message = '') => pod({ state: { waiting: { reason, message } } })
  const obstacle = (one: Pod, waitedMs: number, notes: Parameters<typeof obstacleOf>[1] = []) =>
    obstacleOf(one, notes, waitedMs, PATIENCE, NOW)?.failure

  test('it is on its way', () => {
    assert.equal(obstacle(waiting('ContainerCreating'), 60_000), undefined)
    assert.equal(obstacle(waiting('ContainerCreating'), 300_000), 'start_failed')
  })

  test('an image that is not there ends it at once, one that may come after a while', () => {
    assert.equal(obstacle(waiting('ErrImagePull', 'manifest unknown'), 0), 'image_missing')
    assert.equal(obstacle(waiting('InvalidImageName'), 0), 'image_missing')
    assert.equal(obstacle(waiting('ImagePullBackOff', 'i/o timeout'), 5_000), undefined)
    assert.equal(obstacle(waiting('ImagePullBackOff', 'i/o timeout'), 30_000), 'image_missing')
  })

  test('no node has room: one may be added', () => {
    const conditions = [
      { type: 'PodScheduled', status: 'False', reason: 'Unschedulable', message: '0/1 nodes: Insufficient cpu' },
    ]
    const one = pod({ node: '', status: { phase: 'Pending', conditions } })
    assert.equal(obstacle(one, 60_000), undefined)
    const error = obstacleOf(one, [], 300_000, PATIENCE, NOW)
    assert.match(error?.message ?? '', /Unschedulable: .*Insufficient cpu/)
    assert.match(error?.remediation ?? '', /AGENT_CONTAINER_MEMORY_LIMIT/)
  })

  test('a claim or a directory that is not there', () => {
    const conditions = [
      {
        type: 'PodScheduled',
        status: 'False',
        reason: 'Unschedulable',
        message: 'persistentvolumeclaim "w" not found',
      },
    ]
    assert.equal(obstacle(pod({ status: { phase: 'Pending', conditions } }), 0), 'workspace_unavailable')
    const message =
      'MountVolume.SetUp failed for volume "workspace" : hostPath type check failed: /x is not a directory'
    const notes = [{ type: 'Warning', reason: 'FailedMount', message }]
    assert.equal(obstacle(waiting('ContainerCreating'), 2_000, notes), 'workspace_unavailable')
  })

  test('a node that refused it', () => {
    const one = pod({ status: { phase: 'Failed', reason: 'OutOfmemory', message: 'not enough memory' } })
    assert.equal(obstacle(one, 0), 'start_failed')
  })
})
