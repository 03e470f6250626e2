import type { Logger } from 'pino'
import type { SandboxEngine, SandboxInfo } from './engine.ts'
import { attestPod } from './kubernetes-attest.ts'
import { checkCluster } from './kubernetes-check.ts'
import { type ClusterAddress, connectKubernetes } from './kubernetes-connect.ts'
import { removePods, stopPods } from './kubernetes-end.ts'
import { podLogs } from './kubernetes-logs.ts'
import type { PodSettings } from './kubernetes-manifest.ts'
import { DEFAULT_PATIENCE, type Patience } from './kubernetes-obstacles.ts'
import { ask, type Cluster, createCluster, listPods, type Pod, podsOf, toInfo } from './kubernetes-pods.ts'
import { startPod } from './kubernetes-start.ts'
import { hasStarted, isRunning } from './kubernetes-state.ts'
import { waitForPod } from './kubernetes-wait.ts'

export type KubernetesEngineOptions = ClusterAddress &
  PodSettings & {
    /** What `check` tries to start, in words only. */
    readonly image: string
    readonly patience?: Partial<Patience>
    readonly log: Pick<Logger, 'warn'>
  }

const infoOf = (pod: Pod): SandboxInfo => toInfo(pod, { running: isRunning(pod), started: hasStarted(pod) })

/** The cluster is connected to once, at the first call that needs it; a failure is forgotten, and tried again. */
const lazily = (options: KubernetesEngineOptions): (() => Promise<Cluster>) => {
  let known: Promise<Cluster> | undefined
  return () => {
    known ??= connectKubernetes(options).then((api) => createCluster(api, options.installation))
    known.catch(() => {
      known = undefined
    })
    return known
  }
}

/**
 * Agents as bare pods in one namespace of a cluster, each named after its session. Pods are found by label, and each change
 * names the uid, so a worker that slept cannot touch the next run's pod of the same name.
 */
export const createKubernetesEngine = (options: KubernetesEngineOptions): SandboxEngine => {
  const connect = lazily(options)
  const patience = { ...DEFAULT_PATIENCE, ...options.patience }
  return {
    name: 'kubernetes',
    sharesPaths: false,
    async engineId() {
      const cluster = await connect()
      const namespace = await ask<Pod>(cluster, { resource: 'namespaces', verb: 'get' })
      // Of the namespace, not of its name: one that was deleted and made anew has none of our pods.
      return `kubernetes:${namespace.metadata.uid}`
    },
    check: async () => checkCluster(await connect(), options, options.log),
    start: async (spec, jobLine, signal) =>
      startPod(await connect(), { ...options, patience }, { spec, jobLine, signal }),
    async find(ref) {
      const [pod] = await podsOf(await connect(), ref)
      return pod && infoOf(pod)
    },
    async *logs(ref, signal) {
      yield* podLogs(await connect(), ref, signal)
    },
    wait: async (ref, signal) => waitForPod(await connect(), ref, signal, patience.pending),
    stop: async (ref, graceMs) => stopPods(await connect(), ref, graceMs),
    remove: async (ref, containerId) => removePods(await connect(), ref, containerId),
    attest: async (ref) => attestPod(await connect(), ref),
    list: async () => (await listPods(await connect())).map(infoOf),
  }
}
