import { Agent, request as httpRequest, type IncomingMessage } from 'node:http'
import { Agent as HttpsAgent, request as httpsRequest, type RequestOptions } from 'node:https'
import type { Readable } from 'node:stream'
import type { Rule } from './kubernetes-rules.ts'

/** How long an answer may take; a busy cluster answers in milliseconds, a hung one never. */
export const CALL_MS = 20_000

/** A kept connection that was idle for so long is closed: proxies and servers do it without a word. */
const IDLE_MS = 20_000

export type ApiRequest = Rule & {
  /** One object; absent = all of the namespace. */
  readonly name?: string
  readonly query?: Readonly<Record<string, string | number | boolean>>
  readonly body?: unknown
}

/** The API server said no; in its own words. */
export class ApiRefusal extends Error {
  readonly status: number
  readonly reason: string
  constructor(status: number, reason: string, message: string) {
    super(message)
    this.name = 'ApiRefusal'
    this.status = status
    this.reason = reason
  }
}

/** Credentials that cannot be had: a file that is gone, a program of the kubeconfig that fails. */
export class NoCredentials extends Error {
  constructor(cause: unknown) {
    super(cause instanceof Error ? cause.message : String(cause), { cause })
    this.name = 'NoCredentials'
  }
}

/** An open standard input of a container. */
export type Attached = {
  /** Resolves when the connection is closed: everything was taken, or nobody is there any more. */
  readonly closed: Promise<void>
  /** Breaks it. */
  end(): void
}

/**
 * The API server, as far as `KUBERNETES_RULES` goes, in one namespace. Rejects with `ApiRefusal`, `NoCredentials`, the
 * error of the connection, or `signal.reason`.
 */
export type KubernetesApi = {
  readonly namespace: string
  /** The answer, as JSON; given up (`TimeoutError`) after 20 s. */
  call<T>(request: ApiRequest, signal?: AbortSignal): Promise<T>
  /** An answer that goes on: its head within 20 s, its body until `signal` aborts. */
  stream(request: ApiRequest, signal: AbortSignal): Promise<IncomingMessage>
  /** May this user do that? */
  mayI(rule: Rule): Promise<boolean>
  attach(pod: string, container: string, stdin: Readable): Promise<Attached>
  /** What a command in the container prints; given up after 20 s. */
  exec(pod: string, container: string, command: readonly string[]): Promise<string>
}

const METHODS = { create: 'POST', delete: 'DELETE', get: 'GET', list: 'GET', patch: 'PATCH', watch: 'GET' } as const

const pathOf = (namespace: string, { resource, name, query = {} }: ApiRequest): string => {
  const [kind, sub] = resource.split('/')
  const parts = ['', 'api', 'v1', 'namespaces', namespace]
  if (kind !== undefined && kind !== 'namespaces') parts.push(kind)
  if (name !== undefined) parts.push(encodeURIComponent(name))
  if (sub !== undefined) parts.push(sub)
  const search = new URLSearchParams(Object.entries(query).map(([key, value]) => [key, String(value)]))
  return `${parts.join('/')}${search.size > 0 ? `?${search}` : ''}`
}

const contentType = (verb: string): string => (verb === 'patch' ? 'application/merge-patch+json' : 'application/json')

export const readText = async (response: IncomingMessage): Promise<string> => {
  response.setEncoding('utf8')
  let text = ''
  for await (const part of response) text += part
  return text
}

const refusalOf = (status: number, text: string): ApiRefusal => {
  try {
    const { reason, message } = JSON.parse(text) as { reason?: unknown; message?: unknown }
    return new ApiRefusal(status, String(reason ?? ''), String(message ?? text))
  } catch {
    return new ApiRefusal(status, '', text.trim().slice(0, 500) || `HTTP status ${status}`)
  }
}

type Send = {
  readonly method: string
  readonly path: string
  readonly type: string
  readonly body?: unknown
  /** On a connection of its own: it keeps that for itself, and must not wait for one that died without a word. */
  readonly isLong?: boolean
}

type Opened = { readonly response: IncomingMessage } | { readonly error: Error; readonly isStale: boolean }

const openOnce = async (
  kc: Credentials,
  agents: Agents,
  { method, path, type, body, isLong }: Send,
  signal: AbortSignal,
): Promise<Opened> => {
  const { server, secure, options } = await targetOf(kc, agents, isLong)
  const sent = body === undefined ? undefined : JSON.stringify(body)
  const headers = {
    ...options.headers,
    accept: 'application/json, */*',
    ...(sent !== undefined && { 'content-type': type, 'content-length': Buffer.byteLength(sent) }),
  }
  return new Promise((resolve) => {
    const url = new URL(server.pathname.replace(/\/$/, '') + path, server)
    const open = secure ? httpsRequest : httpRequest
    const request = open(url, { ...options, method, headers, signal })
    request.once('response', (response) => resolve({ response }))
    request.on('error', (error: NodeJS.ErrnoException) =>
      resolve({ error, isStale: request.reusedSocket && error.code === 'ECONNRESET' }),
    )
    request.end(sent)
  })
}

/**
 * The head of an answer. A connection that was kept and turns out to be dead is replaced, where that is harmless, by a new one:
 * the others that were kept may be as dead.
 */
const openAnswer = async (
  kc: Credentials,
  agents: Agents,
  send: Send,
  signal: AbortSignal,
): Promise<IncomingMessage> => {
  let answer = await openOnce(kc, agents, send, signal)
  if ('error' in answer && answer.isStale && send.method !== 'POST') {
    answer = await openOnce(kc, agents, { ...send, isLong: true }, signal)
  }
  if ('response' in answer) return answer.response
  signal.throwIfAborted()
  throw answer.error
}

/** Where the API server is and who we are there, renewed by the kubeconfig's own means. */
export type Credentials = {
  getCurrentCluster(): { readonly server: string; readonly proxyUrl?: string } | null
  applyToHTTPSOptions(options: RequestOptions): Promise<void>
}

type Agents = { readonly http: Agent; readonly https: HttpsAgent }

type Target = { readonly server: URL; readonly secure: boolean; readonly options: RequestOptions }

/** Address and credentials as they are now. */
const targetOf = async (kc: Credentials, agents: Agents, isLong = false): Promise<Target> => {
  const cluster = kc.getCurrentCluster()
  if (cluster === null) throw new NoCredentials('the kubeconfig names no cluster')
  const server = new URL(cluster.server)
  const secure = server.protocol === 'https:'
  const options: RequestOptions = {}
  try {
    await kc.applyToHTTPSOptions(options)
  } catch (error) {
    throw new NoCredentials(error)
  }
  // The library's own agent keeps no connection, and so would shake hands anew for each of a run's ten calls.
  if (cluster.proxyUrl === undefined) options.agent = isLong ? false : secure ? agents.https : agents.http
  return { server, secure, options }
}

/** Kept connections that nobody uses: where one was dead, the others are. */
const dropIdle = ({ http, https }: Agents): void => {
  const idle = [...Object.values(http.freeSockets), ...Object.values(https.freeSockets)]
  for (const socket of idle.flatMap((some) => some ?? [])) socket.destroy()
}

/** Gives up after 20 s, unless it is disposed before. */
const patience = (agents: Agents, signal?: AbortSignal) => {
  const limit = new AbortController()
  const timer = setTimeout(() => {
    limit.abort(new DOMException(`no answer within ${CALL_MS / 1000} s`, 'TimeoutError'))
    dropIdle(agents)
  }, CALL_MS)
  return {
    signal: signal ? AbortSignal.any([signal, limit.signal]) : limit.signal,
    [Symbol.dispose]: () => clearTimeout(timer),
  }
}

const toSend = (namespace: string, request: ApiRequest): Send => ({
  method: METHODS[request.verb],
  path: pathOf(namespace, request),
  type: contentType(request.verb),
  ...(request.body !== undefined && { body: request.body }),
})

const ACCESS_REVIEW = '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews'

const toReview = (namespace: string, { resource, verb }: Rule): Send => {
  const [kind, subresource] = resource.split('/')
  const attributes = { namespace, verb, resource: kind, ...(subresource !== undefined && { subresource }) }
  const body = {
    apiVersion: 'authorization.k8s.io/v1',
    kind: 'SelfSubjectAccessReview',
    spec: { resourceAttributes: attributes },
  }
  return { method: 'POST', path: ACCESS_REVIEW, type: 'application/json', body }
}

/** A client for the cluster of `kc`. Opens nothing by itself; connections are kept between calls. */
export const createKubernetesApi = (
  kc: Credentials,
  namespace: string,
  sockets: Pick<KubernetesApi, 'attach' | 'exec'>,
): KubernetesApi => {
  const options = { keepAlive: true, timeout: IDLE_MS, scheduling: 'lifo' } as const
  const agents: Agents = { http: new Agent(options), https: new HttpsAgent(options) }
  const answerTo = async <T>(send: Send, outer?: AbortSignal): Promise<T> => {
    using limit = patience(agents, outer)
    const response = await openAnswer(kc, agents, send, limit.signal)
    const text = await readText(response)
    const status = response.statusCode ?? 0
    if (status >= 300) throw refusalOf(status, text)
    return JSON.parse(text) as T
  }
  return {
    namespace,
    call: (request, signal) => answerTo(toSend(namespace, request), signal),
    async stream(request, signal) {
      using limit = patience(agents, signal)
      const response = await openAnswer(kc, agents, { ...toSend(namespace, request), isLong: true }, limit.signal)
      const status = response.statusCode ?? 0
      if (status >= 300) throw refusalOf(status, await readText(response))
      return response
    },
    async mayI(rule) {
      const review = await answerTo<{ status?: { allowed?: boolean } }>(toReview(namespace, rule))
      return review.status?.allowed === true
    },
    ...sockets,
  }
}
