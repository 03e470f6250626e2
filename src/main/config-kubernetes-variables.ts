import * as field from './config-fields.ts'
import type { Variable } from './config-variables.ts'

/** Read with ENGINE=kubernetes only. */
export const KUBERNETES = {
  KUBECONFIG: {
    says: 'Kubeconfig file of the cluster.',
    rule: 'must be the path of one file',
    shape: field.text.regex(/^[^:]+$/),
    otherwise: '~/.kube/config; in a pod its service account',
  },
  KUBERNETES_NAMESPACE: {
    says: 'Namespace of the agents. Give them one of their own.',
    rule: 'must be a namespace: lower case letters, digits and "-", at most 63',
    shape: field.dnsLabel,
    fallback: 'mgx-agents',
  },
  KUBERNETES_WORKSPACE_CLAIM: {
    says: 'PersistentVolumeClaim (ReadWriteMany) of the workspaces: the volume that the worker has at WORKSPACES_ROOT.',
    rule: 'must be the name of a PersistentVolumeClaim',
    shape: field.dnsName,
    otherwise: 'HOST_WORKSPACES_ROOT on the node itself, for clusters of one node',
  },
  KUBERNETES_CPU_REQUEST_PERCENT: {
    says: 'How much of its CPU limit an agent is promised. Less puts more agents on a node, which share what the others leave.',
    rule: 'must be a whole number from 1 to 100',
    shape: field.int(1, 100),
    fallback: '25',
  },
  KUBERNETES_PENDING_SECONDS: {
    says: 'How long a pod may wait for a node and its image before its run ends as start_failed.',
    rule: 'must be a whole number of seconds from 10 to 3600',
    shape: field.int(10, 3_600),
    fallback: '300',
  },
  KUBERNETES_RUNTIME_CLASS: {
    says: 'RuntimeClass of the agents, such as gvisor.',
    rule: 'must be the name of a RuntimeClass',
    shape: field.dnsName,
  },
  KUBERNETES_PULL_SECRET: {
    says: 'Name of the secret with which nodes pull the image of the agents.',
    rule: 'must be the name of a Secret',
    shape: field.dnsName,
  },
} as const satisfies Record<string, Variable>
