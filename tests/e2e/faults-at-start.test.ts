import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { rename, writeFile } from 'node:fs/promises'
import type { NetConnectOpts } from 'node:net'
import { join } from 'node:path'
import { after, describe, type TestContext, test } from 'node:test'
import { freePort, tempDir, waitFor } from '../helpers.ts'
import { type Started, startRoot } from '../main/process.ts'
import { openCuttableProxy } from '../services/cuttable-proxy.ts'
import { LIMIT } from './channel-suite.ts'
import { generate, postGenerate, resultOf } from './generate.ts'
import { kept, runDocument } from './kept.ts'
import { openStack } from './stack.ts'
import type { Env } from './stack-node.ts'

const opened = await openStack({ own: true, workers: 0 })

const warnings = ({ said }: Started): string[] =>
  said()
    .stdout.split('\n')
    .filter((line) => line.includes('waiting for'))
    .map((line) => String(JSON.parse(line).msg))

const end = async ({ child, ended }: Started): Promise<void> => {
  child.kill('SIGTERM')
  assert.equal((await ended).code, 0)
}

const daemonAddress = (): NetConnectOpts => {
  const { protocol, hostname, port, pathname } = new URL(process.env.DOCKER_HOST || 'unix:///var/run/docker.sock')
  return protocol === 'unix:' ? { path: pathname } : { host: hostname, port: Number(port) }
}

const takesRuns = ({ said }: Started): boolean => said().stdout.includes('the worker takes runs')

describe('what is missing at the start', { skip: 'skip' in opened ? opened.skip : false }, () => {
  if ('skip' in opened) return
  const stack = opened
  const [url] = stack.urls
  after(() => stack[Symbol.asyncDispose]())

  const startApi = async (t: TestContext) => {
    const port = await freePort()
    const api = await startRoot(t, 'api', { ...stack.env.api, PORT: String(port) })
    const base = `http://127.0.0.1:${port}`
    await waitFor(async () => (await fetch(`${base}/healthz`)).ok, { what: 'the API to listen' })
    const ready = async () => {
      const answer = await fetch(`${base}/readyz`)
      return { status: answer.status, services: ((await answer.json()) as { services: object }).services }
    }
    return { base, api, ready, isReady: async () => (await ready()).status === 200 }
  }

  /** A worker that cannot work: it says why in one line, takes nothing, and does not die of it. */
  const startHalted = async (t: TestContext, env: Env, why: RegExp): Promise<Started> => {
    const worker = await startRoot(t, 'worker', { ...stack.env.worker, ...env })
    await waitFor(() => warnings(worker).some((line) => why.test(line)), { what: `${why}` }).catch((cause) => {
      throw new Error(`the worker did not say ${why}:\n${worker.said().stdout}${worker.said().stderr}`, { cause })
    })
    assert.equal(takesRuns(worker), false)
    return worker
  }

  test('MongoDB: readyz names the store, generate is refused; all is well when it comes', LIMIT, async (t) => {
    await stack.mongo.kill()
    const { base, api, ready, isReady } = await startApi(t)
    assert.deepEqual(await ready(), { status: 503, services: { store: 'missing', queue: 'ok' } })
    const body = { session_id: stack.sessionId('early'), prompt: 'Hello' }
    const refused = await postGenerate(base, body)
    assert.equal(refused.status, 503)
    assert.equal(((await refused.json()) as { code: string }).code, 'UNAVAILABLE')
    await stack.mongo.restart()
    await waitFor(isReady, { what: 'the API to be ready' })
    const run = await generate(base, body)
    const worker = await stack.addWorker()
    assert.equal((await kept(stack, run)).data.cause, 'completed')
    await worker.kill('SIGTERM')
    await end(api)
  })

  test('Redis: readyz names the queue, generate is accepted, and the run is done when it comes', LIMIT, async (t) => {
    await stack.redis.kill()
    const { base, api, ready, isReady } = await startApi(t)
    assert.deepEqual(await ready(), { status: 503, services: { store: 'ok', queue: 'missing' } })
    const run = await generate(base, { session_id: stack.sessionId('hinted'), prompt: 'Hello' })
    const worker = await startHalted(t, {}, /^waiting for the queue: /)
    await stack.redis.restart()
    await waitFor(isReady, { what: 'the API to be ready' })
    assert.equal((await kept(stack, run)).data.cause, 'completed')
    await end(worker)
    await end(api)
  })

  test('Docker: the worker says so and waits; what was accepted meanwhile is done when it comes', LIMIT, async (t) => {
    const socket = join(await tempDir(t), 'docker.sock')
    await using proxy = await openCuttableProxy(socket, daemonAddress())
    await proxy.cut()
    const worker = await startHalted(
      t,
      { DOCKER_HOST: `unix://${socket}` },
      /^waiting for the docker engine: .*daemon/i,
    )
    const run = await generate(url, { session_id: stack.sessionId('patient'), prompt: 'Hello' })
    assert.equal((await runDocument(stack, run))?.state, 'queued')
    await proxy.restore()
    assert.equal((await kept(stack, run)).data.cause, 'completed')
    await end(worker)
  })

  test('the image: the worker says how to build it', LIMIT, async (t) => {
    const worker = await startHalted(t, { AGENT_CONTAINER_IMAGE: 'mgx-no-such-image:1' }, /no image.*make build-agent/)
    await end(worker)
  })

  test('workspaces that cannot be written: the worker says what to do', LIMIT, async (t) => {
    const file = join(await tempDir(t), 'file')
    await writeFile(file, 'not a directory')
    const env = { WORKSPACES_ROOT: join(file, 'workspaces') }
    await end(await startHalted(t, env, /cannot write to the workspaces in .*WORKSPACES_ROOT/))
  })

  test('the image is gone when a run starts: image_missing, and how to build it', LIMIT, async () => {
    const [repo, tag] = ['mgx-e2e', randomUUID().slice(0, 8)]
    const image = stack.docker.getImage(stack.env.worker.AGENT_CONTAINER_IMAGE ?? '')
    await image.tag({ repo, tag })
    const worker = await stack.addWorker({ AGENT_CONTAINER_IMAGE: `${repo}:${tag}` })
    await stack.docker.getImage(`${repo}:${tag}`).remove()
    const run = await generate(url, { session_id: stack.sessionId('imageless'), prompt: 'Hello' })
    assert.equal((await kept(stack, run)).data.cause, 'image_missing')
    const { status, error = '' } = await resultOf(url, run)
    assert.equal(status, 'failed')
    assert.match(error, /^Failed to create or monitor agent container: .*mgx-e2e:.*make build-agent/)
    await worker.kill('SIGTERM')
  })

  test(
    'the root of the workspaces is gone when a run starts: workspace_unavailable, and what to do',
    LIMIT,
    async () => {
      const worker = await stack.addWorker()
      await rename(stack.root, `${stack.root}-away`)
      try {
        const run = await generate(url, { session_id: stack.sessionId('homeless'), prompt: 'Hello' })
        assert.equal((await kept(stack, run)).data.cause, 'workspace_unavailable')
        const { error = '' } = await resultOf(url, run)
        assert.match(error, /^Failed to create or monitor agent container: .*does not exist.*WORKSPACES_ROOT/)
      } finally {
        await rename(`${stack.root}-away`, stack.root)
      }
      const again = await generate(url, { session_id: stack.sessionId('homeless'), prompt: 'Hello' })
      assert.equal((await kept(stack, again)).data.cause, 'completed')
      await worker.kill('SIGTERM')
    },
  )
})
