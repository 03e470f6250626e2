import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { StartFailure } from '#contracts/causes.ts'
import { ask, within } from '#scheduler/engines/docker-daemon.ts'
import { callError, startError } from '#scheduler/engines/docker-errors.ts'
import { EngineError, type SandboxSpec } from '#scheduler/engines/engine.ts'
import { rejectsWith } from '../../conformance/engine-bench.ts'

const spec = {
  name: 'mgx-agent-s1',
  image: 'mgx:latest',
  network: 'agents',
  workspace: { path: '/here/w1', hostPath: '/there/w1' },
} as SandboxSpec

/** As dockerode throws it. */
const answered = (statusCode: number, message: string): Error =>
  Object.assign(new Error(`(HTTP code ${statusCode}) server error - ${message} `), { statusCode, json: { message } })

const broken = (code: string): Error => Object.assign(new Error(`connect ${code} /var/run/docker.sock`), { code })

const CASES: readonly [Error, StartFailure, RegExp][] = [
  [answered(404, 'No such image: mgx:latest'), 'image_missing', /make build-agent.*AGENT_CONTAINER_IMAGE/],
  [answered(400, 'invalid reference format'), 'image_missing', /AGENT_CONTAINER_IMAGE/],
  [
    answered(400, 'invalid mount config for type "bind": bind source path does not exist: /there/w1'),
    'workspace_unavailable',
    /\/there\/w1.*HOST_WORKSPACES_ROOT/,
  ],
  [
    answered(500, 'Mounts denied: \nThe path /there/w1 is not shared from the host'),
    'workspace_unavailable',
    /HOST_WORKSPACES_ROOT.*share it/,
  ],
  [
    answered(400, 'OCI runtime create failed: error mounting "/there/w1" to rootfs at "/workspace"'),
    'workspace_unavailable',
    /HOST_WORKSPACES_ROOT/,
  ],
  [answered(500, 'error mounting "tmpfs" to rootfs at "/tmp"'), 'start_failed', /docker run --rm mgx:latest/],
  [answered(404, 'network agents not found'), 'start_failed', /AGENT_NETWORK/],
  [
    answered(500, 'adding interface veth1 to bridge docker0 failed: could not find bridge docker0'),
    'start_failed',
    /docker run --rm/,
  ],
  [answered(500, 'mkdir /var/lib/docker/x: no space left on device'), 'disk_full', /disk/],
  [answered(404, 'No such container: 123'), 'start_failed', /removed it/],
  [answered(400, 'OCI runtime create failed: exec: "/nothing": no such file'), 'start_failed', /mgx:latest/],
  [broken('ENOENT'), 'engine_unavailable', /Start Docker/],
  [broken('ECONNREFUSED'), 'engine_unavailable', /Start Docker/],
  [broken('ECONNRESET'), 'engine_unavailable', /Start Docker/],
  [broken('EAI_AGAIN'), 'engine_unavailable', /DOCKER_HOST/],
  [broken('EACCES'), 'engine_unavailable', /group/],
]

for (const [error, failure, remedy] of CASES) {
  test(`start: ${error.message.replace(/\s+/g, ' ').slice(0, 90)} → ${failure}`, () => {
    const told = startError(error, spec)
    assert.equal(told.failure, failure)
    assert.match(told.remediation, remedy)
    assert.equal(told.cause, error)
    assert.doesNotMatch(told.message, /HTTP code/)
  })
}

test('other calls: whatever ails the engine, it is the engine', () => {
  assert.equal(callError(answered(500, 'containerd is gone')).failure, 'engine_unavailable')
  assert.match(callError(answered(500, 'containerd is gone')).message, /refused: containerd is gone/)
  assert.equal(callError(broken('EPIPE')).failure, 'engine_unavailable')
})

test('an EngineError stays what it is', () => {
  const error = new EngineError('start_failed', 'it was so', 'do this')
  assert.equal(startError(error, spec), error)
  assert.equal(callError(error), error)
})

test('a daemon that hangs is given up, also when the client never settles', async () => {
  const never = () => new Promise<never>(() => {})
  await assert.rejects(within(20, never), { name: 'TimeoutError' })
  const error = await rejectsWith('engine_unavailable', ask(20, never))
  assert.match(error.message, /did not answer in time/)
  let aborted = false
  await rejectsWith(
    'engine_unavailable',
    ask(20, (signal) => {
      signal.addEventListener('abort', () => {
        aborted = true
      })
      return never()
    }),
  )
  assert.equal(aborted, true)
})
