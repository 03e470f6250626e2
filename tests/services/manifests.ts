import { parseAllDocuments } from 'yaml'
import type { Kubectl } from './kubectl.ts'

/** Any object of Kubernetes, as far as tests look into all of them alike. */
export type Manifest = {
  readonly apiVersion: string
  readonly kind: string
  readonly metadata: { readonly name: string; readonly namespace?: string }
  // biome-ignore lint/suspicious/noExplicitAny: manifests are what YAML holds; the API server knows their types.
  readonly [field: string]: any
}

/** The documents of a file of manifests. Throws where it is no YAML. */
export const parseManifests = (text: string): Manifest[] =>
  parseAllDocuments(text).flatMap((one) => {
    const [error] = one.errors
    if (error) throw error
    return (one.toJS() as Manifest | null) ?? []
  })

/** What `kubectl apply -k` would apply. */
export const renderManifests = async (kubectl: Kubectl, directory: string): Promise<Manifest[]> =>
  parseManifests(await kubectl(['kustomize', directory]))

/** `kubectl apply`, which reads JSON as well. */
export const applyManifests = (kubectl: Kubectl, items: readonly Manifest[], ...flags: readonly string[]) =>
  kubectl(['apply', ...flags, '-f', '-'], JSON.stringify({ apiVersion: 'v1', kind: 'List', items }))

/** Names that an installation of a test's own has in place of `mgx` and `mgx-agents`. */
export type Names = { readonly services: string; readonly agents: string }

/**
 * The same installation beside others on one cluster: other namespaces, and other names for what belongs to none. Addresses of
 * Services follow.
 */
export const renamed = (all: readonly Manifest[], { services, agents }: Names): Manifest[] => {
  const names: Readonly<Record<string, string>> = {
    'mgx-agents': agents,
    'mgx-workspaces': `${services}-workspaces`,
    'mgx-workspaces-agents': `${services}-workspaces-agents`,
  }
  const rename = (key: string, value: unknown): unknown => {
    if (typeof value !== 'string') return value
    if (value === 'mgx' && (key === 'namespace' || key === 'kubernetes.io/metadata.name')) return services
    return names[value] ?? value.replace('.mgx.svc', `.${services}.svc`)
  }
  const copies = JSON.parse(JSON.stringify(all, rename)) as Manifest[]
  return copies.map((one) =>
    one.kind === 'Namespace' && one.metadata.name === 'mgx'
      ? { ...one, metadata: { ...one.metadata, name: services } }
      : one,
  )
}

/** `change` may write into what it is given. */
export const changed = (
  all: readonly Manifest[],
  kind: string,
  name: string | undefined,
  change: (one: Manifest) => void,
): void => {
  const found = all.filter((one) => one.kind === kind && (name === undefined || one.metadata.name.startsWith(name)))
  if (found.length === 0) throw new Error(`the manifests have no ${kind} ${name ?? ''}`)
  for (const one of found) change(one)
}
