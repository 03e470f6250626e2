import type { Logger } from 'pino'
import { EngineError, type SandboxSpec } from './engine.ts'
import { ApiRefusal } from './kubernetes-api.ts'
import { callError, startError } from './kubernetes-errors.ts'
import { type PodSettings, podManifest } from './kubernetes-manifest.ts'
import type { Note } from './kubernetes-obstacles.ts'
import { ask, askUnless, type Cluster, type Condition, type Pod } from './kubernetes-pods.ts'
import { KUBERNETES_RULES, type Rule } from './kubernetes-rules.ts'

const MIB = 1024 * 1024

export type KubernetesNeeds = PodSettings & { readonly image: string }

const rules = (): Rule[] =>
  Object.entries(KUBERNETES_RULES).flatMap(([resource, verbs]) => verbs.map((verb) => ({ resource, verb }) as Rule))

const checkRights = async ({ api }: Cluster): Promise<void> => {
  const all = rules()
  const allowed = await Promise.all(all.map((rule) => api.mayI(rule))).catch((error: unknown) => {
    throw callError(error)
  })
  const missing = all.filter((_, at) => allowed[at] !== true).map(({ resource, verb }) => `${verb} ${resource}`)
  if (missing.length === 0) return
  throw new EngineError(
    'engine_unavailable',
    `the worker's user may not do everything it needs in the namespace ${api.namespace}: ${missing.join(', ')}`,
    'Grant it these verbs there with a Role and a RoleBinding; docs/kubernetes.md has the whole list.',
  )
}

const checkNamespace = async (cluster: Cluster): Promise<void> => {
  const { namespace } = cluster.api
  const found = await askUnless<Pod & { status?: { phase?: string } }>([404], cluster, {
    resource: 'namespaces',
    verb: 'get',
  })
  if (found && found.status?.phase !== 'Terminating') return
  const why = found ? 'is being deleted' : 'does not exist'
  const remedy = `Create it (\`kubectl create namespace ${namespace}\`), or set KUBERNETES_NAMESPACE to one there is.`
  throw new EngineError('engine_unavailable', `the namespace ${namespace} ${why}`, remedy)
}

type Claim = {
  readonly metadata: { readonly uid: string }
  readonly spec: { readonly accessModes?: readonly string[]; readonly storageClassName?: string }
  readonly status?: { readonly phase?: string; readonly conditions?: readonly Condition[] }
}

const claimError = (message: string, remedy: string): EngineError =>
  new EngineError('workspace_unavailable', message, remedy)

/** Why a claim has no volume, in the words of the cluster. */
const whyUnbound = async (cluster: Cluster, { metadata }: Claim): Promise<string> => {
  const query = { fieldSelector: `involvedObject.uid=${metadata.uid}` }
  const notes = await ask<{ items: Note[] }>(cluster, { resource: 'events', verb: 'list', query })
  const note = notes.items.findLast(({ type }) => type === 'Warning') ?? notes.items.at(-1)
  return note ? `${note.reason ?? ''}: ${note.message ?? ''}` : 'nothing says why'
}

const checkClaim = async (cluster: Cluster, name: string, log: Pick<Logger, 'warn'>): Promise<void> => {
  const claim = await askUnless<Claim>([404], cluster, { resource: 'persistentvolumeclaims', verb: 'get', name })
  const where = `the claim ${name} for workspaces in ${cluster.api.namespace}`
  if (!claim)
    throw claimError(`${where} does not exist`, 'Create it, or set KUBERNETES_WORKSPACE_CLAIM to one there is.')
  if (claim.status?.phase !== 'Bound') {
    const why = await whyUnbound(cluster, claim)
    // Bound when the first pod uses it: nothing is wrong yet.
    if (/WaitForFirstConsumer/.test(why)) return
    throw claimError(
      `${where} (storage class "${claim.spec.storageClassName ?? ''}") has no volume: ${why}`,
      'Give it a storage class that the cluster has (`kubectl get storageclass`) and that can be written to by many nodes at once.',
    )
  }
  if (claim.spec.accessModes?.includes('ReadWriteMany') !== true) {
    log.warn(
      { claim: name, modes: claim.spec.accessModes },
      'this claim is not ReadWriteMany: agents run on one node only',
    )
  }
}

/** A pod as starts will make them. */
const probe = ({ image }: KubernetesNeeds): SandboxSpec => ({
  session_id: 'check',
  run_id: 'check',
  tenant_id: 'default',
  workspace_id: 'check',
  name: 'mgx-check',
  image,
  user: '1000:1000',
  workspace: { path: '/', hostPath: '/' },
  env: {},
  network: 'none',
  limits: { memoryBytes: 64 * MIB, cpuQuota: 1000, pids: 1, tmpBytes: MIB },
  labels: {},
  extraHosts: [],
})

/** The pod is shown to the API server, which says what it thinks and forgets it. */
const checkAdmission = async ({ api }: Cluster, needs: KubernetesNeeds): Promise<void> => {
  const spec = probe(needs)
  const body = podManifest(spec, needs, new Date())
  try {
    await api.call({ resource: 'pods', verb: 'create', query: { dryRun: 'All' }, body })
  } catch (error) {
    // A quota that is used up now has room later: it is for the run that meets it.
    if (error instanceof ApiRefusal && /exceeded quota/i.test(error.message)) return
    throw startError(error, spec, api.namespace)
  }
}

/** `SandboxEngine.check`: the cluster answers, and lets us do all that a run needs. Its image only a node can tell. */
export const checkCluster = async (
  cluster: Cluster,
  needs: KubernetesNeeds,
  log: Pick<Logger, 'warn'>,
): Promise<void> => {
  await checkRights(cluster)
  await checkNamespace(cluster)
  if (needs.claim !== undefined) await checkClaim(cluster, needs.claim, log)
  await checkAdmission(cluster, needs)
}
