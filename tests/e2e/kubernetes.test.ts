import assert from 'node:assert/strict'
import { readFile, writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'
import { freePort, waitFor } from '../helpers.ts'
import { testImage } from '../services/image.ts'
import { type Admin, type Namespace, openCluster, openNamespace } from '../services/kubernetes.ts'
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

type Opened = { readonly stack: Stack; readonly ns: Namespace; readonly admin: Admin }

const open = async (): Promise<Opened | { readonly skip: string }> => {
  const admin = await openCluster()
  if ('skip' in admin) return { skip: admin.skip }
  await loadImage(await testImage())
  const ns = await openNamespace(admin)
  const port = await freePort('0.0.0.0')
  const stack = await openStack({
    env: {
      ENGINE: 'kubernetes',
      KUBECONFIG: process.env.KUBECONFIG ?? '',
      KUBERNETES_NAMESPACE: ns.name,
      KUBERNETES_CPU_REQUEST_PERCENT: '5',
      AGENT_CONTAINER_MEMORY_LIMIT: '512m',
      AGENT_TMP_SIZE: '64m',
      GATEWAY_TCP_PORT: String(port),
      GATEWAY_TCP_URL: `http://${await addressFor(admin.server)}:${port}`,
    },
  })
  if ('skip' in stack) {
    await ns[Symbol.asyncDispose]()
    return { skip: stack.skip ?? 'no services' }
  }
  return { stack, ns, admin }
}

const opened = await open()

describe('Kubernetes: from a prompt to files', { skip: 'skip' in opened ? opened.skip : false }, () => {
  if ('skip' in opened) return
  const { stack, ns, admin } = opened
  const url = stack.urls[0]
  after(async () => {
    await stack[Symbol.asyncDispose]()
    await ns[Symbol.asyncDispose]()
  })

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
})
