import { LABELS } from '#contracts/labels.ts'
import type { SandboxInfo, SandboxRef } from './engine.ts'
import { ApiRefusal, type ApiRequest, type KubernetesApi } from './kubernetes-api.ts'
import { callError } from './kubernetes-errors.ts'
import { createPodFeed, type PodFeed } from './kubernetes-feed.ts'
import { labelValue } from './kubernetes-names.ts'

/** The API server, whose pods we may touch, and what happens to them. */
export type Cluster = { readonly api: KubernetesApi; readonly installation: string; readonly feed: PodFeed }

const selectorOf = (labels: readonly (readonly [string, string])[]): string => {
  const pairs = labels.map(([key, value]) => `${key}=${labelValue(value)}`)
  return [`${LABELS.managed}=true`, LABELS.run, ...pairs].join(',')
}

export const createCluster = (api: KubernetesApi, installation: string): Cluster => ({
  api,
  installation,
  feed: createPodFeed(api, selectorOf([[LABELS.installation, installation]])),
})

export type ContainerState = {
  readonly waiting?: { readonly reason?: string; readonly message?: string }
  readonly running?: { readonly startedAt?: string }
  readonly terminated?: {
    readonly exitCode: number
    readonly reason?: string
    readonly message?: string
    readonly finishedAt?: string
  }
}

export type Condition = {
  readonly type: string
  readonly status: string
  readonly reason?: string
  readonly message?: string
}

/** A pod as the API server shows it, as far as it is looked at here. */
export type Pod = {
  readonly metadata: {
    readonly name: string
    readonly uid: string
    readonly resourceVersion: string
    readonly creationTimestamp: string
    /** When it has to be over; set by a deletion. */
    readonly deletionTimestamp?: string
    readonly deletionGracePeriodSeconds?: number
    readonly annotations?: Readonly<Record<string, string>>
  }
  readonly spec: { readonly nodeName?: string; readonly terminationGracePeriodSeconds?: number }
  readonly status?: {
    readonly phase?: string
    readonly reason?: string
    readonly message?: string
    readonly conditions?: readonly Condition[]
    readonly containerStatuses?: readonly {
      readonly name: string
      readonly imageID?: string
      readonly state?: ContainerState
    }[]
  }
}

export const annotation = ({ metadata }: Pod, key: string): string => metadata.annotations?.[key] ?? ''

/** One call, its failure as an `EngineError`. */
export const ask = async <T>({ api }: Cluster, request: ApiRequest, signal?: AbortSignal): Promise<T> => {
  try {
    return await api.call<T>(request, signal)
  } catch (error) {
    signal?.throwIfAborted()
    throw callError(error)
  }
}

/** As `ask`; `undefined` when the server answers with one of `statuses` (404: it is gone; 409: it is another one). */
export const askUnless = async <T>(
  statuses: readonly number[],
  { api }: Cluster,
  request: ApiRequest,
  signal?: AbortSignal,
): Promise<T | undefined> => {
  try {
    return await api.call<T>(request, signal)
  } catch (error) {
    signal?.throwIfAborted()
    if (error instanceof ApiRefusal && statuses.includes(error.status)) return undefined
    throw callError(error)
  }
}

/** This installation's pods with all these ids, whatever state they are in. */
export const listPods = async (
  cluster: Cluster,
  ids: Readonly<Record<string, string>> = {},
  signal?: AbortSignal,
): Promise<Pod[]> => {
  const wanted = Object.entries({ [LABELS.installation]: cluster.installation, ...ids })
  const request = { resource: 'pods', verb: 'list', query: { labelSelector: selectorOf(wanted) } } as const
  const { items } = await ask<{ items: Pod[] }>(cluster, request, signal)
  return items.filter((pod) => wanted.every(([key, value]) => annotation(pod, key) === value))
}

/** Every pod of the run: one, or none, as long as nobody meddles. */
export const podsOf = (cluster: Cluster, ref: SandboxRef, signal?: AbortSignal): Promise<Pod[]> =>
  listPods(cluster, { [LABELS.session]: ref.session_id, [LABELS.run]: ref.run_id }, signal)

export const getPod = (cluster: Cluster, name: string, signal?: AbortSignal): Promise<Pod | undefined> =>
  askUnless<Pod>([404], cluster, { resource: 'pods', verb: 'get', name }, signal)

/** Ends and removes that very pod: another one of its name is left alone. 0 = at once, without asking its node. */
export const deletePod = async (cluster: Cluster, { metadata }: Pod, graceSeconds: number): Promise<void> => {
  const body = { gracePeriodSeconds: graceSeconds, preconditions: { uid: metadata.uid } }
  await askUnless([404, 409], cluster, { resource: 'pods', verb: 'delete', name: metadata.name, body })
}

export const toInfo = (pod: Pod, state: Pick<SandboxInfo, 'running' | 'started'>): SandboxInfo => ({
  containerId: pod.metadata.uid,
  session_id: annotation(pod, LABELS.session),
  run_id: annotation(pod, LABELS.run),
  workspace_id: annotation(pod, LABELS.workspace),
  ...state,
  createdAt: new Date(pod.metadata.creationTimestamp),
})
