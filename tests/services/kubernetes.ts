import { randomUUID } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { type RequestOptions, request } from 'node:https'
import { isIP } from 'node:net'
import { join } from 'node:path'
import type { KubeConfig } from '@kubernetes/client-node'
import { KUBERNETES_RULES } from '#scheduler/engines/kubernetes-rules.ts'
import { waitFor } from '../helpers.ts'
import type { Skip } from './daemon.ts'

/** The cluster of KUBECONFIG as its administrator: whatever path, whatever object. */
export type Admin = {
  readonly server: URL
  /** Rejects on a refusal, with its words. */
  ask<T = Record<string, unknown>>(method: string, path: string, body?: unknown): Promise<T>
}

const READY_MS = 10_000

const answerOf = (url: URL, options: RequestOptions, body: string): Promise<string> =>
  new Promise((resolve, reject) => {
    const sent = request(url, options, (response) => {
      let text = ''
      response.setEncoding('utf8')
      response.on('data', (part: string) => {
        text += part
      })
      response.on('error', reject)
      response.on('end', () => {
        if ((response.statusCode ?? 0) < 300) resolve(text)
        else reject(new Error(`${options.method} ${url.pathname}: ${response.statusCode} ${text}`))
      })
    })
    sent.on('error', reject)
    sent.end(body)
  })

const adminOf = (kc: KubeConfig): Admin => {
  const server = new URL(kc.getCurrentCluster()?.server ?? 'https://kubernetes.invalid')
  return {
    server,
    async ask<T>(method: string, path: string, body?: unknown) {
      const options: RequestOptions = { method, timeout: READY_MS }
      await kc.applyToHTTPSOptions(options)
      const type = method === 'PATCH' ? 'application/merge-patch+json' : 'application/json'
      const sent = body === undefined ? '' : JSON.stringify(body)
      // With its length: Node sends the body of a DELETE without one, and then nobody reads it.
      const length = Buffer.byteLength(sent)
      options.headers = { ...options.headers, 'content-type': type, 'content-length': length }
      const text = await answerOf(new URL(path, server), options, sent)
      return JSON.parse(text) as T
    },
  }
}

/** The cluster that KUBECONFIG names, or why there is none. `node tests/run.ts` starts no cluster. */
export const openCluster = async (): Promise<Admin | Skip> => {
  const { KUBECONFIG: file, MGX_TEST_NO_CLUSTER: why } = process.env
  if (!file) return { skip: `Kubernetes: ${why ?? 'KUBECONFIG is not set (`make test-kubernetes` needs a cluster)'}` }
  try {
    const { KubeConfig } = await import('@kubernetes/client-node')
    const kc = new KubeConfig()
    kc.loadFromFile(file)
    const admin = adminOf(kc)
    await admin.ask('GET', '/version')
    return admin
  } catch (error) {
    return { skip: `Kubernetes: no cluster answers for KUBECONFIG=${file} (${error})` }
  }
}

/** A namespace of a test's own; everything in it goes with it. */
export type Namespace = AsyncDisposable & {
  readonly name: string
  /** Path of a kind of object in it, or of one of them. */
  path(kind: string, name?: string): string
}

export const openNamespace = async (
  admin: Admin,
  labels: Readonly<Record<string, string>> = {},
): Promise<Namespace> => {
  const name = `mgx-test-${randomUUID().slice(0, 8)}`
  await admin.ask('POST', '/api/v1/namespaces', { metadata: { name, labels } })
  const path = (kind: string, one?: string) => `/api/v1/namespaces/${name}/${kind}${one === undefined ? '' : `/${one}`}`
  // Pods are refused until the cluster has made this one.
  await waitFor(() => admin.ask('GET', path('serviceaccounts', 'default')), { what: 'the default service account' })
  return {
    name,
    path,
    [Symbol.asyncDispose]: async () => {
      await admin.ask('DELETE', `/api/v1/namespaces/${name}`)
    },
  }
}

type Rules = Readonly<Record<string, readonly string[]>>

const USER = 'worker'

/**
 * A user that may do what `rules` say in the namespace and nothing else; default: what the engine says it needs.
 * @returns its token
 */
export const makeUser = async (admin: Admin, ns: Namespace, rules: Rules = KUBERNETES_RULES): Promise<string> => {
  const rbac = `/apis/rbac.authorization.k8s.io/v1/namespaces/${ns.name}`
  const list = Object.entries(rules)
    .map(([resource, verbs]) => ({ apiGroups: [''], resources: [resource], verbs }))
    .filter(({ verbs }) => verbs.length > 0)
  await admin.ask('POST', ns.path('serviceaccounts'), { metadata: { name: USER } })
  await admin.ask('POST', `${rbac}/roles`, { metadata: { name: USER }, rules: list })
  await admin.ask('POST', `${rbac}/rolebindings`, {
    metadata: { name: USER },
    roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'Role', name: USER },
    subjects: [{ kind: 'ServiceAccount', name: USER, namespace: ns.name }],
  })
  const answer = await admin.ask<{ status: { token: string } }>('POST', `${ns.path('serviceaccounts', USER)}/token`, {
    apiVersion: 'authentication.k8s.io/v1',
    kind: 'TokenRequest',
    spec: { expirationSeconds: 3600 },
  })
  return answer.status.token
}

/** A kubeconfig with that token, for the API server behind a port of this machine. Its name in TLS stays its own. */
export const writeKubeconfig = async (admin: Admin, dir: string, token: string, port: number): Promise<string> => {
  const file = join(dir, `kubeconfig-${randomUUID().slice(0, 8)}`)
  const { KubeConfig } = await import('@kubernetes/client-node')
  const kc = new KubeConfig()
  kc.loadFromFile(process.env.KUBECONFIG ?? '')
  const options: RequestOptions = {}
  await kc.applyToHTTPSOptions(options)
  const ca = Buffer.from(String(options.ca ?? '')).toString('base64')
  const cluster = {
    server: `https://127.0.0.1:${port}`,
    // An address cannot be a name in TLS; this one is in the certificate of every API server.
    'tls-server-name': isIP(admin.server.hostname) === 0 ? admin.server.hostname : 'kubernetes.default.svc',
    'certificate-authority-data': ca,
  }
  const text = JSON.stringify({
    apiVersion: 'v1',
    kind: 'Config',
    'current-context': 'test',
    contexts: [{ name: 'test', context: { cluster: 'test', user: 'test' } }],
    clusters: [{ name: 'test', cluster }],
    users: [{ name: 'test', user: { token } }],
  })
  await writeFile(file, text, { mode: 0o600 })
  return file
}
