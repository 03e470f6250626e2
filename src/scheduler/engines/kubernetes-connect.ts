import type { RequestOptions } from 'node:https'
import { PassThrough } from 'node:stream'
import type { Attach, KubeConfig } from '@kubernetes/client-node'
import { EngineError } from './engine.ts'
import { CALL_MS, createKubernetesApi, type KubernetesApi, NoCredentials } from './kubernetes-api.ts'

export type ClusterAddress = {
  readonly namespace: string
  /** A kubeconfig file; absent = as kubectl does it: KUBECONFIG, ~/.kube/config, else the pod's own service account. */
  readonly kubeconfig?: string
  /** One of its contexts; absent = its current one. */
  readonly context?: string
}

const REMEDY =
  'Set KUBECONFIG to the file of a cluster (try `kubectl cluster-info` with it), or run the worker in a pod with a service account.'

const load = (kc: KubeConfig, { kubeconfig, context }: ClusterAddress): void => {
  try {
    if (kubeconfig === undefined) kc.loadFromDefault()
    else kc.loadFromFile(kubeconfig)
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error)
    throw new EngineError('engine_unavailable', `the kubeconfig cannot be read: ${why}`, REMEDY, { cause: error })
  }
  if (context !== undefined) kc.setCurrentContext(context)
  if (kc.getCurrentCluster() === null) {
    const message = `the kubeconfig has no cluster for its context "${kc.getCurrentContext()}"`
    throw new EngineError('engine_unavailable', message, REMEDY)
  }
}

/** What the library's web socket offers, as far as it is used here. */
type Socket = Awaited<ReturnType<Attach['attach']>>

const closedOf = (socket: Socket): Promise<void> => {
  const over = Promise.withResolvers<void>()
  socket.onclose = () => over.resolve()
  socket.onerror = () => over.resolve()
  if (socket.readyState >= 2) over.resolve()
  return over.promise
}

/** As `kc`, for web sockets: with a limit for their handshake, and the connection a new one. */
const withLimit = (kc: KubeConfig): KubeConfig => {
  const applyToHTTPSOptions = async (options: RequestOptions & { handshakeTimeout?: number }): Promise<void> => {
    await kc.applyToHTTPSOptions(options).catch((error: unknown) => {
      throw new NoCredentials(error)
    })
    options.handshakeTimeout = CALL_MS
  }
  return Object.create(kc, { applyToHTTPSOptions: { value: applyToHTTPSOptions } }) as KubeConfig
}

/** The cluster. The library is large (1 s to load), so it is loaded here and only here. Throws `EngineError`. */
export const connectKubernetes = async (address: ClusterAddress): Promise<KubernetesApi> => {
  const library = await import('@kubernetes/client-node')
  const kc = new library.KubeConfig()
  load(kc, address)
  const { namespace } = address
  return createKubernetesApi(kc, namespace, {
    async attach(pod, container, stdin) {
      const client = new library.Attach(withLimit(kc))
      const socket = await client.attach(namespace, pod, container, null, null, stdin, false)
      return { closed: closedOf(socket), end: () => socket.terminate() }
    },
    async exec(pod, container, command) {
      const output = new PassThrough()
      const client = new library.Exec(withLimit(kc))
      const socket = await client.exec(namespace, pod, container, [...command], output, null, null, false)
      const limit = setTimeout(() => socket.terminate(), CALL_MS)
      void closedOf(socket).then(() => output.end())
      try {
        return Buffer.concat(await Array.fromAsync(output as AsyncIterable<Buffer>)).toString()
      } finally {
        clearTimeout(limit)
        socket.terminate()
      }
    },
  })
}
