import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'
import { freePort, waitFor } from '../helpers.ts'
import { type CuttableProxy, openCuttableProxy } from '../services/cuttable-proxy.ts'
import { testImage } from '../services/image.ts'
import {
  type Admin,
  makeUser,
  type Namespace,
  openCluster,
  openNamespace,
  writeKubeconfig,
} from '../services/kubernetes.ts'
import { loadImage } from '../services/kubernetes-image.ts'
import { generate, logsOf, resultOf, stopRun } from './generate.ts'
import { kept, logOf } from './kept.ts'
import { openStack, type Stack } from './stack.ts'

const LIMIT = { timeout: 180_000 }

/** This machine as the cluster sees it: where a connection to the API server comes from. */
const addressFor = (server: URL): Promise<string> =>
  new Promise((resolve, reject) => {
    const socket = connect({ host: server.hostname, port: Number(server.port || 443) }, () => {
      resolve(socket.localAddress ?? '')
      socket.destroy()
    }).once('error', reject)
  })

type Opened = {
  readonly stack: Stack
  readonly ns: Namespace
  readonly admin: Admin
  /** Between the worker and the API server. */
  readonly proxy: CuttableProxy
  close(): Promise<void>
}

const open = async (): Promise<Opened | { readonly skip: string }> => {
  const admin = await openCluster()
  if ('skip' in admin) return { skip: admin.skip }
  await loadImage(await testImage())
  await using closing = new AsyncDisposableStack()
  const ns = closing.use(await openNamespace(admin))
  const dir = await mkdtemp(join(tmpdir(), 'mgx-kube-'))
  closing.defer(() => rm(dir, { recursive: true, force: true }))
  const at = { host: '127.0.0.1', port: await freePort() }
  const upstream = { host: admin.server.hostname, port: Number(admin.server.port || 443) }
  const proxy = closing.use(await openCuttableProxy(at, upstream))
  const port = await freePort('0.0.0.0')
  const stack = await openStack({
    env: {
      ENGINE: 'kubernetes',
      // Whoever does no more than it says it needs.
      KUBECONFIG: await writeKubeconfig(admin, dir, await makeUser(admin, ns), at.port),
      KUBERNETES_NAMESPACE: ns.name,
      KUBERNETES_CPU_REQUEST_PERCENT: '5',
      AGENT_CONTAINER_MEMORY_LIMIT: '512m',
      AGENT_TMP_SIZE: '64m',
      GATEWAY_TCP_PORT: String(port),
      GATEWAY_TCP_URL: `http://${await addressFor(admin.server)}:${port}`,
    },
  })
  if ('skip' in stack) return { skip: stack.skip ?? 'no services' }
  closing.use(stack)
  const kept = closing.move()
  return { stack, ns, admin, proxy, close: () => kept.disposeAsync() }
}

const opened = await open()

describe('Kubernetes: from a prompt to files', { skip: 'skip' in opened ? opened.skip : false }, () => {
  if ('skip' in opened) return
  const { stack, ns, admin, proxy, close } = opened
  const url = stack.urls[0]
  after(close)

  const pods = async (): Promise<string[]> => {
    const { items } = await admin.ask<{ items: { metadata: { name: string } }[] }>('GET', ns.path('pods'))
    return items.map(({ metadata }) => metadata.name)
  }
  const noPods = () => waitFor(async () => (await pods()).length === 0, { what: 'no pod to be left' })
  const fileOf = (session: string, name: string) => join(stack.root, session, name)

  test('a prompt becomes a pod, events, files, a log and a result; and the pod is gone', LIMIT, async () => {
    const session_id = stack.sessionId('one')
    const prompt =
      'bash id -u; pwd; touch /tmp/t "$HOME/h"; touch /x || echo root is read-only\nwrite page.html <h1>hello</h1>'
    const run = await generate(url, { session_id, prompt })
    assert.equal((await kept(stack, run, 120_000)).data.cause, 'completed')
    assert.equal(await readFile(fileOf(session_id, 'page.html'), 'utf8'), '<h1>hello</h1>')
    const [bash] = (await logOf(stack, run)).flatMap((event) =>
      event.event_type === 'tool_end' ? [event.data.output] : [],
    )
    assert.match(bash ?? '', /^1000\n\/workspace\n[\s\S]*root is read-only/)
    const result = await resultOf(url, run)
    assert.deepEqual([result.status, result.container_exit_code], ['success', 0])
    assert.match(await logsOf(url, run), /agent started: session/)
    await noPods()
  })

  test('stop ends a run that is at work as cancelled, and its session is free', LIMIT, async () => {
    const session_id = stack.sessionId('two')
    const run = await generate(url, { session_id, prompt: 'bash touch began; sleep 600' })
    await waitFor(() => readFile(fileOf(session_id, 'began')).then(() => true), { what: 'the agent' })
    assert.equal((await stopRun(url, run)).status, 202)
    assert.equal((await kept(stack, run, 120_000)).data.cause, 'cancelled')
    const next = await generate(url, { session_id, prompt: 'done' })
    assert.equal((await kept(stack, next, 120_000)).data.cause, 'completed')
    await noPods()
  })

  test('a worker dies at work: the next one adopts the pod, and nothing is lost', LIMIT, async () => {
    const session_id = stack.sessionId('three')
    const prompt = 'bash touch began; until [ -e go ]; do sleep 0.1; done; echo went on'
    const run = await generate(url, { session_id, prompt })
    await waitFor(() => readFile(fileOf(session_id, 'began')).then(() => true), { what: 'the agent' })
    const [worker] = stack.workers
    assert.ok(worker)
    await worker.kill()
    await worker.restart()
    await writeFile(fileOf(session_id, 'go'), '')
    assert.equal((await kept(stack, run, 120_000)).data.cause, 'completed')
    const log = await logOf(stack, run)
    assert.equal(log.filter(({ event_type }) => event_type === 'agent_start').length, 1)
    assert.match(JSON.stringify(log), /went on/)
    await noPods()
  })

  test('the API server is away: a run at work ends as it would have, one that comes begins later', LIMIT, async () => {
    const session_id = stack.sessionId('four')
    const prompt = 'bash touch began; until [ -e go ]; do sleep 0.1; done'
    const run = await generate(url, { session_id, prompt })
    await waitFor(() => readFile(fileOf(session_id, 'began')).then(() => true), { what: 'the agent' })
    await proxy.cut()
    const next = await generate(url, { session_id: stack.sessionId('five'), prompt: 'done' })
    await writeFile(fileOf(session_id, 'go'), '')
    const has = async (of: typeof run, type: string) =>
      (await logOf(stack, of)).some(({ event_type, run_id }) => event_type === type && run_id === of.run_id)
    await waitFor(() => has(run, 'finish'), { what: 'the finish of the run' })
    await waitFor(() => stack.logs().includes('does not answer'), { what: 'the worker to notice' })
    assert.equal(await has(next, 'agent_start'), false)
    await proxy.restore()
    for (const one of [run, next]) assert.equal((await kept(stack, one, 120_000)).data.cause, 'completed')
    await noPods()
  })
})
