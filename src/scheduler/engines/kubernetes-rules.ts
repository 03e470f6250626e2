/**
 * Every call that the engine makes, as Kubernetes authorizes it: nothing else is asked for, in the worker's namespace and
 * beyond. infra/kubernetes grants exactly this, `check` asks whether it is granted, and a test runs with it.
 */
export const KUBERNETES_RULES = {
  // Its uid is the engine's id; that it answers says that it exists.
  namespaces: ['get'],
  pods: ['create', 'delete', 'get', 'list', 'patch', 'watch'],
  // By web socket: `get` up to Kubernetes 1.34, `create` from 1.35 on.
  'pods/attach': ['create', 'get'],
  // What holds a container is read in it.
  'pods/exec': ['create', 'get'],
  'pods/log': ['get'],
  // Why a pod does not start: its status says only that it does not.
  events: ['list'],
  persistentvolumeclaims: ['get'],
} as const

export type Resource = keyof typeof KUBERNETES_RULES

export type Verb<R extends Resource = Resource> = R extends Resource ? (typeof KUBERNETES_RULES)[R][number] : never

/** One call, as the table has it: no other can be written down. */
export type Rule = { readonly [R in Resource]: { readonly resource: R; readonly verb: Verb<R> } }[Resource]
