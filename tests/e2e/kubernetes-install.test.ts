import assert from 'node:assert/strict'
import { after, describe, test } from 'node:test'
import { KUBERNETES_RULES } from '#scheduler/engines/kubernetes-rules.ts'
import { waitFor } from '../helpers.ts'
import { applyManifests, type Manifest } from '../services/manifests.ts'
import { generate, logsOf, resultOf } from './generate.ts'
import { namesOfTest, openInstall } from './kubernetes-install.ts'
import { followEvents } from './session-follower.ts'

const LIMIT = { timeout: 400_000 }
/** For what waits for processes to start, on a machine that is busy. */
const PATIENT = { everyMs: 500, timeoutMs: 150_000 }

const isNamespace = ({ kind }: Manifest): boolean => kind === 'Namespace'

const opened = await openInstall()

describe('infra/kubernetes on a cluster', { skip: 'skip' in opened ? opened.skip : false }, () => {
  if ('skip' in opened) return
  const { kubectl, admin, names, url } = opened
  after(() => opened[Symbol.asyncDispose](), LIMIT)

  const fileOf = (workspace: string, file: string) =>
    kubectl(['exec', '-n', names.services, 'deployment/mgx-worker', '--', 'cat', `/workspaces/${workspace}/${file}`])

  for (const overlay of ['try', 'production'] as const) {
    test(`the API server takes every object of the overlay ${overlay}, without a warning`, LIMIT, async () => {
      const names = namesOfTest()
      const all = await opened.rendered(overlay, names)
      const [namespaces, rest] = [all.filter(isNamespace), all.filter((one) => !isNamespace(one))]
      try {
        await applyManifests(kubectl, namespaces)
        const told = await applyManifests(kubectl, rest, '--server-side', '--dry-run=server', '--warnings-as-errors')
        assert.equal(told.trim().split('\n').length, rest.length, told)
      } finally {
        await kubectl(['delete', 'namespace', names.services, names.agents, '--wait=false'])
      }
    })
  }

  test('a run, from HTTP to finish: files, output, a result, and no pod left', LIMIT, async () => {
    const prompt = 'bash id -u; env\nwrite page.html <h1>hello</h1>'
    const run = await generate(url, { session_id: 'one', prompt })
    const result = await resultOf(url, run, 120_000)
    assert.deepEqual([result.status, result.container_exit_code], ['success', 0], JSON.stringify(result))
    assert.equal(await fileOf('one', 'page.html'), '<h1>hello</h1>')
    assert.match(await logsOf(url, run), /agent started/)
    const headers = { accept: 'application/json' }
    const log = await (await fetch(`${url}/api/agent/sessions/one/events`, { headers })).text()
    assert.match(log, /https_proxy=/)
    assert.ok(!log.includes(opened.modelKey), 'the key of the model stays outside')
    const pods = () => kubectl(['get', 'pods', '-n', names.agents, '-o', 'name'])
    await waitFor(async () => (await pods()) === '', { ...PATIENT, what: 'no pod to be left' })
  })

  test(
    'api and worker are replaced during a run: it goes on in its pod, and its client misses nothing',
    LIMIT,
    async () => {
      const prompt = 'bash touch began; until [ -e go ]; do sleep 0.1; done; echo went on'
      const run = await generate(url, { session_id: 'two', prompt })
      await using follower = followEvents([`${url}${run.events_url}`])
      await waitFor(() => fileOf('two', 'began').then(() => true), { ...PATIENT, what: 'the agent' })
      await kubectl(['rollout', 'restart', '-n', names.services, 'deployment/mgx-api'])
      // As an operator ends a trial of another image: it is a rollout of the workers.
      await kubectl(['set', 'env', '-n', names.services, 'deployment/mgx-worker', 'AGENT_CANARY_WEIGHT=0'])
      for (const name of ['mgx-api', 'mgx-worker'])
        await kubectl(['rollout', 'status', '-n', names.services, '--timeout=180s', `deployment/${name}`])
      await waitFor(() => follower.connections > 1, { ...PATIENT, what: 'the old api to end the stream' })
      await kubectl(['exec', '-n', names.services, 'deployment/mgx-worker', '--', 'touch', '/workspaces/two/go'])
      assert.equal((await resultOf(url, run, 120_000)).status, 'success')
      await follower.done
      const seen = follower.frames.map(({ id }) => id)
      assert.deepEqual(
        seen,
        seen.map((_, index) => index + 1),
      )
      assert.equal(follower.frames.filter(({ event }) => event === 'agent_start').length, 1)
      assert.match(JSON.stringify(follower.events), /went on/)
    },
  )

  test('the worker may do what its table says among the agents, and nothing else', LIMIT, async () => {
    const worker = `system:serviceaccount:${names.services}:mgx-worker`
    const may = async (namespace: string, verb: string, path: string): Promise<boolean> => {
      const [resource, subresource] = path.split('/')
      const spec = { user: worker, resourceAttributes: { namespace, verb, resource, subresource } }
      const body = { apiVersion: 'authorization.k8s.io/v1', kind: 'SubjectAccessReview', spec }
      const review = '/apis/authorization.k8s.io/v1/subjectaccessreviews'
      return (await admin.ask<{ status: { allowed: boolean } }>('POST', review, body)).status.allowed
    }
    const table = Object.entries(KUBERNETES_RULES).flatMap(([resource, verbs]) => verbs.map((verb) => [verb, resource]))
    for (const [verb = '', resource = ''] of table) {
      assert.equal(await may(names.agents, verb, resource), true, `${verb} ${resource}`)
      assert.equal(await may(names.services, verb, resource), false, `${verb} ${resource} beside the services`)
    }
    for (const [verb, resource] of [
      ['get', 'secrets'],
      ['update', 'pods'],
      ['create', 'persistentvolumeclaims'],
      ['create', 'serviceaccounts/token'],
      ['delete', 'namespaces'],
      ['list', 'nodes'],
    ] as const)
      assert.equal(await may(names.agents, verb, resource), false, `${verb} ${resource}`)
  })

  test('a worker tells the figures that workers are scaled by', LIMIT, async () => {
    const ask = ['curl', '-fsS', 'http://127.0.0.1:9090/metrics']
    const figures = await kubectl(['exec', '-n', names.services, 'deployment/mgx-worker', '-c', 'worker', '--', ...ask])
    const scaler = await kubectl(['get', '-n', names.services, 'hpa/mgx-worker', '-o', 'json'])
    const { metrics } = JSON.parse(scaler).spec as { metrics: { pods: { metric: { name: string } } }[] }
    for (const { pods } of metrics) assert.match(figures, new RegExp(`^${pods.metric.name}\\b.* \\d`, 'm'))
  })

  test('among the agents nothing runs that is not hardened, and no more than the quota', LIMIT, async () => {
    const pods = `/api/v1/namespaces/${names.agents}/pods?dryRun=All`
    const pod = (more: object) => ({
      metadata: { name: 'intruder' },
      spec: { containers: [{ name: 'a', image: 'a', ...more }] },
    })
    await assert.rejects(admin.ask('POST', pods, pod({})), /violates PodSecurity \\"restricted/)
    const { status } = await admin.ask<{ status: { hard?: object } }>(
      'GET',
      `/api/v1/namespaces/${names.agents}/resourcequotas/agents`,
    )
    assert.ok(status.hard, 'the quota is in force')
  })
})
