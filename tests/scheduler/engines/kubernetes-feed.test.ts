import assert from 'node:assert/strict'
import { IncomingMessage } from 'node:http'
import { Socket } from 'node:net'
import { after, afterEach, before, describe, test } from 'node:test'
import { LABELS } from '#contracts/labels.ts'
import type { SandboxSpec } from '#scheduler/engines/engine.ts'
import { ApiRefusal, type KubernetesApi } from '#scheduler/engines/kubernetes-api.ts'
import { changesSince, WATCH_TIMES, type WatchTimes } from '#scheduler/engines/kubernetes-changes.ts'
import { connectKubernetes } from '#scheduler/engines/kubernetes-connect.ts'
import { createPodFeed } from '#scheduler/engines/kubernetes-feed.ts'
import { type Cluster, createCluster, podsOf } from '#scheduler/engines/kubernetes-pods.ts'
import { exitOf } from '#scheduler/engines/kubernetes-state.ts'
import { waitForPod } from '#scheduler/engines/kubernetes-wait.ts'
import { watchPod } from '#scheduler/engines/kubernetes-watch.ts'
import { type Ground, leaveFile, openGround, rejectsWith, soon, startSteps } from '../../conformance/engine-bench.ts'
import { waitFor } from '../../helpers.ts'
import { type KubernetesBench, noCluster, openKubernetesBench } from './kubernetes-bench.ts'

/** Rounds that a test can wait for. */
const SHORT: WatchTimes = { roundSeconds: 2, slackMs: 1_000 }

const WAITS = [
  { do: 'awaitFile', file: 'go' },
  { do: 'exit', code: 6 },
] as const

/** The answer of a server that does not know a watch's version any more. A real one that is young has forgotten none yet. */
const forgotten = (): IncomingMessage => {
  const object = { kind: 'Status', metadata: {}, status: 'Failure', reason: 'Expired', code: 410 }
  const answer = new IncomingMessage(new Socket())
  answer.push(`${JSON.stringify({ type: 'ERROR', object })}\n`)
  answer.push(null)
  return answer
}

describe('kubernetes: one watch for all who wait', { skip: noCluster }, () => {
  let ground: Ground
  let bench: KubernetesBench
  before(async () => {
    ground = await openGround(async () => {
      bench = await openKubernetesBench()
      return bench
    })
  })
  after(() => ground?.[Symbol.asyncDispose]())
  // Connections that hang are of no use to the next test.
  afterEach(() => {
    bench.proxy.drop()
  })

  const running = async (): Promise<SandboxSpec> => {
    const spec = await ground.newSpec()
    await startSteps(ground, bench.engine, spec, WAITS)
    return spec
  }

  /** A cluster that notes what it is asked for, and may have forgotten the version of the nth watch. */
  const noting = async (
    times: WatchTimes,
    forgets?: number,
  ): Promise<Cluster & { readonly asked: (verb: string) => number; readonly selector: string }> => {
    const api = await connectKubernetes({ namespace: bench.ns.name, kubeconfig: bench.kubeconfig })
    const verbs: string[] = []
    const asked = (verb: string) => verbs.filter((one) => one === verb).length
    const noted: KubernetesApi = {
      ...api,
      call: (request, signal) => {
        verbs.push(request.verb)
        return api.call(request, signal)
      },
      stream: async (request, signal) => {
        const isForgotten = request.verb === 'watch' && asked('watch') + 1 === forgets
        const response = isForgotten ? forgotten() : await api.stream(request, signal)
        verbs.push(request.verb)
        return response
      },
    }
    const selector = `${LABELS.installation}=${bench.installation}`
    return { ...createCluster(noted, bench.installation), feed: createPodFeed(noted, selector, times), asked, selector }
  }
  const podOf = async (cluster: Cluster, spec: SandboxSpec) => {
    const [pod] = await podsOf(cluster, spec)
    assert.ok(pod)
    return pod
  }

  test('however many wait, for however many pods: one list and one watch', async () => {
    const cluster = await noting(WATCH_TIMES)
    const specs = await Promise.all([running(), running(), running()])
    const waits = Array.from({ length: 30 }, (_, n) => {
      const spec = specs[n % specs.length]
      assert.ok(spec)
      return waitForPod(cluster, spec, soon(), 1000)
    })
    await waitFor(() => cluster.asked('watch') === 1, { what: 'the watch' })
    for (const spec of specs) await leaveFile(spec, 'go')
    for (const exit of await Promise.all(waits)) assert.deepEqual(exit, { code: 6, reason: 'exited' })
    // Each wait finds its pod by a list, and looks at it once before it listens.
    assert.deepEqual([cluster.asked('list'), cluster.asked('get'), cluster.asked('watch')], [31, 30, 1])
  })

  test('watch after watch goes on where the one before ended, without another list', async () => {
    const cluster = await noting(SHORT)
    const spec = await running()
    const waiting = waitForPod(cluster, spec, soon(), 1000)
    await waitFor(() => cluster.asked('watch') >= 3, { what: 'the third watch' })
    await leaveFile(spec, 'go')
    assert.deepEqual(await waiting, { code: 6, reason: 'exited' })
    assert.equal(cluster.asked('list'), 2)
  })

  test('a connection that died without a word is replaced, and what happened meanwhile is seen', async () => {
    const cluster = await noting(SHORT)
    const spec = await running()
    const waiting = waitForPod(cluster, spec, soon(), 1000)
    await waitFor(() => cluster.asked('watch') === 1, { what: 'the watch' })
    bench.proxy.hang()
    await leaveFile(spec, 'go')
    assert.deepEqual(await waiting, { code: 6, reason: 'exited' })
    assert.equal(cluster.asked('list'), 2)
  })

  test('a connection that breaks is replaced; nobody who waits hears of it', async () => {
    const cluster = await noting(WATCH_TIMES)
    const spec = await running()
    const waiting = waitForPod(cluster, spec, soon(), 1000)
    await waitFor(() => cluster.asked('watch') === 1, { what: 'the watch' })
    bench.proxy.drop()
    await leaveFile(spec, 'go')
    assert.deepEqual(await waiting, { code: 6, reason: 'exited' })
    assert.equal(cluster.asked('list'), 2)
  })

  test('a version that the server has forgotten: a list says what is, and what is gone', async () => {
    const cluster = await noting(SHORT, 2)
    const spec = await running()
    const pod = await podOf(cluster, spec)
    const sights = watchPod(cluster, pod.metadata, soon())
    assert.equal((await sights.next()).value?.gone, false)
    await waitFor(() => cluster.asked('watch') === 1, { what: 'the watch' })
    // Nothing of this is heard of, and the watch that would tell it later is refused.
    bench.proxy.hang()
    await bench.admin.ask('DELETE', bench.ns.path('pods', spec.name), { gracePeriodSeconds: 0 })
    let last: Awaited<ReturnType<typeof sights.next>>['value']
    for await (const sight of sights) last = sight
    assert.equal(last?.gone, true)
    assert.equal(last?.pod?.metadata.uid, pod.metadata.uid)
    assert.ok(cluster.asked('list') >= 3, 'another list')
  })

  test('the two ways to say that a version is forgotten', async () => {
    const { api, selector } = await noting(SHORT)
    const refusals: readonly KubernetesApi['stream'][] = [
      async () => forgotten(),
      async () => Promise.reject(new ApiRefusal(410, 'Expired', 'too old resource version: 1 (898)')),
    ]
    for (const stream of refusals) {
      assert.deepEqual(await Array.fromAsync(changesSince({ ...api, stream }, selector, '1', SHORT, soon())), [])
    }
  })

  test('out of reach: all who wait are told, and who comes later begins anew', async () => {
    const cluster = await noting(WATCH_TIMES)
    const specs = await Promise.all([running(), running()])
    const waits = specs.map((spec) => rejectsWith('engine_unavailable', waitForPod(cluster, spec, soon(), 1000)))
    await waitFor(() => cluster.asked('watch') === 1, { what: 'the watch' })
    await bench.proxy.cut()
    await Promise.all(waits)
    await bench.proxy.restore()
    const again = specs.map((spec) => waitForPod(cluster, spec, soon(), 1000))
    for (const spec of specs) await leaveFile(spec, 'go')
    for (const exit of await Promise.all(again)) assert.equal(exit.code, 6)
  })

  test('a pod that is shown again by the clock costs the cluster nothing', async () => {
    const cluster = await noting(WATCH_TIMES)
    const spec = await running()
    const pod = await podOf(cluster, spec)
    let looks = 0
    for await (const sight of watchPod(cluster, pod.metadata, soon(), () => 0.05)) {
      looks += 1
      if (looks === 10) await leaveFile(spec, 'go')
      if (sight.pod && exitOf(sight.pod, new Date())) break
    }
    assert.ok(looks > 10)
    assert.equal(cluster.asked('get'), 1)
  })
})
