import type { StartFailure } from '#contracts/causes.ts'
import { EngineError, type SandboxSpec } from './engine.ts'
import { ApiRefusal, NoCredentials } from './kubernetes-api.ts'

const wordsOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))

const LOG_IN =
  'Renew the credentials of the kubeconfig (KUBECONFIG), or the service account of the worker; what waits goes on by itself.'
const GRANT = "Grant the worker's user the verbs that docs/kubernetes.md lists, in its namespace."
const REACH =
  'Check that the API server of KUBECONFIG answers (`kubectl get --raw /readyz`); what waits goes on by itself.'

const remedyOf = (error: unknown): string => {
  if (error instanceof NoCredentials) return LOG_IN
  if (!(error instanceof ApiRefusal)) return REACH
  if (error.status === 401) return LOG_IN
  return error.status === 403 ? GRANT : 'See the log of the API server.'
}

const said = (error: unknown): string => {
  if (error instanceof NoCredentials) return `there are no credentials for the cluster: ${wordsOf(error)}`
  if (!(error instanceof ApiRefusal)) return `the API server cannot be reached: ${wordsOf(error)}`
  if (error.status === 401)
    return `the cluster does not accept our credentials (they expired, or are of another cluster)`
  return `the cluster refused: ${wordsOf(error)}`
}

/** For every call but the creation of a pod. */
export const callError = (error: unknown): EngineError => {
  if (error instanceof EngineError) return error
  return new EngineError('engine_unavailable', said(error), remedyOf(error), { cause: error })
}

type StartRule = {
  readonly matches: (words: string, status: number) => boolean
  readonly failure: StartFailure
  readonly remedy: (spec: SandboxSpec, namespace: string) => string
}

/** What the API server says when it does not take a pod, most telling first (Kubernetes 1.35). */
const START_RULES: readonly StartRule[] = [
  {
    matches: (words) => /exceeded quota/i.test(words),
    failure: 'start_failed',
    remedy: (_, namespace) =>
      `The ResourceQuota of ${namespace} is used up: raise it, or let fewer runs at once (WORKER_CONCURRENCY) or ` +
      'smaller ones (AGENT_CONTAINER_MEMORY_LIMIT, AGENT_CONTAINER_CPU_QUOTA).',
  },
  {
    matches: (words) => /violates PodSecurity/i.test(words),
    failure: 'start_failed',
    remedy: (_, namespace) =>
      `The PodSecurity level of ${namespace} refuses the pod. Level restricted takes agents whose workspaces are on a ` +
      'claim (KUBERNETES_WORKSPACE_CLAIM); paths of the node need level privileged.',
  },
  {
    matches: (words, status) => status === 404 && /namespaces? .*not found/i.test(words),
    failure: 'start_failed',
    remedy: (_, namespace) => `Create it (\`kubectl create namespace ${namespace}\`), or set KUBERNETES_NAMESPACE.`,
  },
  {
    matches: (words) => /being terminated/i.test(words),
    failure: 'start_failed',
    remedy: (_, namespace) =>
      `Somebody deletes the namespace ${namespace}: create it anew, or set KUBERNETES_NAMESPACE.`,
  },
  {
    matches: (words, status) => status === 403 && /cannot create resource/i.test(words),
    failure: 'start_failed',
    remedy: () => GRANT,
  },
  {
    matches: (_, status) => status === 403,
    failure: 'start_failed',
    remedy: (_, namespace) =>
      `A rule of the namespace ${namespace} (LimitRange, admission) refuses the pod: see what it says.`,
  },
]

/** The cluster itself could not answer: try again. */
const isAway = (error: unknown): boolean =>
  !(error instanceof ApiRefusal) || error.status === 401 || error.status === 429 || error.status >= 500

/** For the creation of a pod: the cluster's refusal as a cause with a remedy. */
export const startError = (error: unknown, spec: SandboxSpec, namespace: string): EngineError => {
  if (error instanceof EngineError || isAway(error)) return callError(error)
  const words = wordsOf(error)
  const status = error instanceof ApiRefusal ? error.status : 0
  const rule = START_RULES.find((candidate) => candidate.matches(words, status))
  return new EngineError(
    rule?.failure ?? 'start_failed',
    `the cluster did not take the pod of ${spec.name}: ${words}`,
    rule?.remedy(spec, namespace) ?? `See what the API server of ${namespace} says about it.`,
    { cause: error },
  )
}

/** The pod's name belongs to somebody else: another installation, or nobody of ours. */
export const nameTaken = (name: string, namespace: string, installation: string): EngineError => {
  const owner = installation === '' ? 'which mgx did not make' : `of the installation "${installation}"`
  return new EngineError(
    'start_failed',
    `the name ${name} is in use in ${namespace} by a pod ${owner}`,
    'Remove that pod, or give this installation a namespace of its own (KUBERNETES_NAMESPACE): installations that share ' +
      'one must not share session ids.',
  )
}
