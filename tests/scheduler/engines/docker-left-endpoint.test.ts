import assert from 'node:assert/strict'
import { PassThrough } from 'node:stream'
import { test } from 'node:test'
import type Docker from 'dockerode'
import { startContainer } from '#scheduler/engines/docker-start.ts'
import type { SandboxSpec } from '#scheduler/engines/engine.ts'
import { createSemaphore } from '#scheduler/semaphore.ts'

const SPEC = {
  ...{
    name: 'mgx-agent-s',
    session_id: 's',
    run_id: 'r',
    workspace_id: 'w',
    image: 'i',
    user: '1:1',
    network: 'bridge',
  },
  ...{ env: {}, extraHosts: [], labels: {}, limits: { memoryBytes: 1, cpuQuota: 1, pids: 1, tmpBytes: 1 } },
  workspace: { path: '/w', hostPath: '/w' },
} as unknown as SandboxSpec

/** A daemon that was killed and came back; a real one does not fail like that when it is asked to (seen under `make chaos SEED=32`). */
const daemonThatKept = (endpoint: string, isThere: boolean, isCleared = true) => {
  const calls: string[] = []
  let kept = true
  let made = 0
  const container = (id: string) => ({
    id,
    attach: async () => new PassThrough().resume(),
    start: async () => {
      calls.push(`start ${id}`)
      if (kept) throw Object.assign(new Error('x'), { statusCode: 403, json: { message: endpoint } })
    },
    remove: async () => void calls.push(`remove ${id}`),
  })
  const docker = {
    listContainers: async () => [],
    createContainer: async () => container(`c${++made}`),
    getNetwork: (network: string) => ({
      disconnect: async ({ Container, Force }: { Container: string; Force: boolean }) => {
        calls.push(`disconnect ${Container} from ${network}${Force ? ' by force' : ''}`)
        if (!isThere) throw Object.assign(new Error('no such endpoint'), { statusCode: 404 })
        kept = !isCleared
      },
    }),
  } as unknown as Docker
  const start = () =>
    startContainer({ docker, installation: 'i' }, createSemaphore(1), {
      spec: SPEC,
      jobLine: () => 'line',
      signal: AbortSignal.timeout(10_000),
    })
  return { calls, start }
}

const LEFT = 'endpoint with name mgx-agent-s already exists in network bridge'

test('docker: what a killed daemon kept of an earlier container of the session is cleared, and the run starts', async () => {
  const { calls, start } = daemonThatKept(LEFT, true)
  assert.deepEqual(await start(), { containerId: 'c2', adopted: false })
  assert.deepEqual(calls, ['start c1', 'remove c1', 'disconnect mgx-agent-s from bridge by force', 'start c2'])
})

test('docker: where that cannot be cleared, or is another’s, the start fails and says what the daemon said', async () => {
  await assert.rejects(daemonThatKept(LEFT, false).start(), { failure: 'start_failed', message: /already exists/ })
  const stays = daemonThatKept(LEFT, true, false)
  await assert.rejects(stays.start(), { failure: 'start_failed' })
  assert.equal(stays.calls.filter((call) => call.startsWith('start')).length, 2, 'it is tried once more, not for ever')
  const other = daemonThatKept(LEFT.replace('agent-s', 'agent-t'), true)
  await assert.rejects(other.start(), { failure: 'start_failed' })
  assert.deepEqual(other.calls, ['start c1', 'remove c1'])
})
