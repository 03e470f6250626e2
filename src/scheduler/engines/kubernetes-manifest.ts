import { LABELS } from '#contracts/labels.ts'
import { AGENT_HOME, identityLabels, WORKSPACE_MOUNT } from './docker-options.ts'
import type { SandboxSpec } from './engine.ts'
import { labelValue, podName } from './kubernetes-names.ts'

/** The one container of an agent's pod. */
export const CONTAINER = 'agent'

/** What an operator decides once for all pods. */
export type PodSettings = {
  readonly installation: string
  /** PersistentVolumeClaim of the workspaces, one directory (`subPath`) each; absent = the node's own path (`hostPath`). */
  readonly claim?: string
  /** How much of its CPU limit a pod is promised, 0 to 1: the rest it gets while its node has it to spare. */
  readonly cpuShare: number
  /** From TERM to KILL: a pod's is fixed when it is made. */
  readonly stopGraceMs: number
  readonly runtimeClass?: string
  readonly pullSecret?: string
}

/** The period that `limits.cpuQuota` counts in, microseconds. */
const CPU_PERIOD = 100_000

/** So much later than the run should be over the cluster itself ends the pod, should no worker be left to do it. */
const LAST_NET_SECONDS = 120

const milliCpus = (quota: number): number => Math.max(1, Math.floor((quota * 1000) / CPU_PERIOD))

const resources = ({ limits }: SandboxSpec, share: number) => {
  const memory = String(limits.memoryBytes)
  const cpus = milliCpus(limits.cpuQuota)
  // All of its memory is promised: a node that runs out of it kills, and CPU it only shares.
  return {
    limits: { memory, cpu: `${cpus}m` },
    requests: { memory, cpu: `${Math.max(1, Math.floor(cpus * share))}m` },
  }
}

/** In memory, counted towards the container's limit: a disk that fills ends pods of others too. */
const inMemory = (name: string, bytes: number) => ({
  name,
  emptyDir: { medium: 'Memory', sizeLimit: String(bytes) },
})

const workspaceVolume = (spec: SandboxSpec, claim: string | undefined) =>
  claim === undefined
    ? { name: 'workspace', hostPath: { path: spec.workspace.hostPath, type: 'Directory' } }
    : { name: 'workspace', persistentVolumeClaim: { claimName: claim } }

const mounts = (spec: SandboxSpec, claim: string | undefined) => [
  {
    name: 'workspace',
    mountPath: WORKSPACE_MOUNT,
    ...(claim !== undefined && { subPath: spec.workspace_id }),
  },
  { name: 'tmp', mountPath: '/tmp' },
  { name: 'home', mountPath: AGENT_HOME },
]

const container = (spec: SandboxSpec, settings: PodSettings) => ({
  name: CONTAINER,
  image: spec.image,
  // Written out: the default for the tag `latest` would ask the registry at every start.
  imagePullPolicy: 'IfNotPresent',
  env: Object.entries({ ...spec.env, HOME: AGENT_HOME }).map(([name, value]) => ({ name, value })),
  // Standard input ends with the one line that is written.
  stdin: true,
  stdinOnce: true,
  tty: false,
  resources: resources(spec, settings.cpuShare),
  volumeMounts: mounts(spec, settings.claim),
  securityContext: {
    allowPrivilegeEscalation: false,
    privileged: false,
    readOnlyRootFilesystem: true,
    capabilities: { drop: ['ALL'] },
  },
})

/** All ids of the pod as they are, beside their labels: a label cannot hold every one. */
export const podAnnotations = (spec: SandboxSpec, installation: string): Record<string, string> => ({
  ...spec.labels,
  ...identityLabels(spec, installation),
})

const podLabels = (spec: SandboxSpec, installation: string): Record<string, string> => {
  const { [LABELS.expiresAt]: _time, ...labels } = podAnnotations(spec, installation)
  return Object.fromEntries(Object.entries(labels).map(([key, value]) => [key, labelValue(value)]))
}

/** Seconds from a pod's start until the cluster ends it; `undefined` where the sandbox has no such time. */
const activeDeadline = (spec: SandboxSpec, now: Date): number | undefined => {
  const expires = Date.parse(spec.labels[LABELS.expiresAt] ?? '')
  if (Number.isNaN(expires)) return undefined
  return Math.max(1, Math.ceil((expires - now.getTime()) / 1000)) + LAST_NET_SECONDS
}

const userOf = ({ user }: SandboxSpec) => {
  const [uid = 0, gid = uid] = user.split(':').map(Number)
  return { runAsUser: uid, runAsGroup: gid, fsGroup: gid }
}

/**
 * A sandbox as a Pod. Pure; with a claim for the workspaces it passes PodSecurity `restricted`. What Docker limits and a
 * pod cannot: the number of processes (the kubelet's `podPidsLimit`) and the size of core files.
 */
export const podManifest = (spec: SandboxSpec, settings: PodSettings, now: Date) => {
  const deadline = activeDeadline(spec, now)
  const { installation, claim, runtimeClass, pullSecret } = settings
  const hostAliases = spec.extraHosts.map((host) => {
    const [name = '', ip = ''] = host.split(/:(.*)/)
    return { ip, hostnames: [name] }
  })
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name: podName(spec.name),
      labels: podLabels(spec, installation),
      annotations: podAnnotations(spec, installation),
    },
    spec: {
      restartPolicy: 'Never',
      automountServiceAccountToken: false,
      enableServiceLinks: false,
      hostNetwork: false,
      hostPID: false,
      hostIPC: false,
      terminationGracePeriodSeconds: Math.max(1, Math.ceil(settings.stopGraceMs / 1000)),
      ...(deadline !== undefined && { activeDeadlineSeconds: deadline }),
      ...(runtimeClass !== undefined && { runtimeClassName: runtimeClass }),
      ...(pullSecret !== undefined && { imagePullSecrets: [{ name: pullSecret }] }),
      ...(hostAliases.length > 0 && { hostAliases }),
      securityContext: {
        runAsNonRoot: true,
        ...userOf(spec),
        // Without it the kubelet would go through every file of every workspace at each start.
        fsGroupChangePolicy: 'OnRootMismatch',
        seccompProfile: { type: 'RuntimeDefault' },
      },
      containers: [container(spec, settings)],
      volumes: [
        workspaceVolume(spec, claim),
        inMemory('tmp', spec.limits.tmpBytes),
        inMemory('home', spec.limits.tmpBytes),
      ],
    },
  }
}

export type PodManifest = ReturnType<typeof podManifest>
