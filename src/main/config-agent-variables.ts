import * as field from './config-fields.ts'
import { KUBERNETES } from './config-kubernetes-variables.ts'
import type { Variable } from './config-variables.ts'

const MIB = 1024 ** 2

const workspaceVariables = {
  WORKSPACES_ROOT: {
    says: 'Directory of the workspaces, as the worker sees it.',
    rule: 'must be the path of a directory',
    shape: field.directory,
    fallback: './workspaces',
  },
  HOST_WORKSPACES_ROOT: {
    says: 'The same directory as the Docker daemon sees it. They differ when the worker itself runs in a container.',
    rule: 'must be an absolute path',
    shape: field.text.regex(/^(\/|[A-Za-z]:[\\/])/),
    otherwise: 'WORKSPACES_ROOT',
  },
  AGENT_WORKSPACE_QUOTA: {
    says: 'What one workspace may hold on disk. A run that goes beyond it ends as disk_full.',
    rule: 'must be a size of at least 16m: a whole number with k, m or g behind it, or of bytes',
    shape: field.bytes(16 * MIB),
    otherwise: 'no quota',
  },
  AGENT_WORKSPACE_QUOTA_KIND: {
    says: 'soft: the worker watches the quota. hard: each new workspace is a file system of that size, an image in WORKSPACES_ROOT/.mgx/disks, which refuses to be filled beyond it. That needs ENGINE=docker, and a worker that is root on the machine of the Docker daemon.',
    rule: 'must be soft or hard',
    shape: field.oneOf('soft', 'hard'),
    fallback: 'soft',
  },
  AGENT_DISK_RESERVE: {
    says: 'What stays free on the disk of the workspaces, at most a tenth of it: below that no run is begun, and the one that writes most ends as disk_full.',
    rule: 'must be a size: a whole number with k, m or g behind it, or of bytes; 0 for none',
    shape: field.bytes(0),
    fallback: '512m',
  },
  MGX_INSTALLATION: {
    says: 'Name of this installation on container labels. A worker touches containers of its own installation only.',
    rule: 'must be 1 to 63 characters: a letter or digit first, then letters, digits, "_", "." or "-"',
    shape: field.name,
    otherwise: 'derived from HOST_WORKSPACES_ROOT',
  },
} as const satisfies Record<string, Variable>

const engineVariables = {
  ENGINE: {
    says: 'What runs the agents: docker, kubernetes, or process, which isolates nothing, cannot enforce AGENT_EGRESS, and is for development.',
    rule: 'must be docker, kubernetes or process',
    shape: field.oneOf('docker', 'kubernetes', 'process'),
    otherwise: 'docker; make demo and npm run dev take process where no Docker answers',
  },
  DOCKER_HOST: {
    says: 'Address of the Docker daemon.',
    rule: 'must be a unix://, tcp://, http:// or https:// address',
    shape: field.text.regex(/^(unix:\/\/\/|(tcp|https?):\/\/)./),
    otherwise: 'unix:///var/run/docker.sock',
  },
  AGENT_CONTAINER_IMAGE: {
    says: 'Image of the agent containers; make build-agent builds it.',
    rule: 'must be the name of an image, such as mgx:latest',
    shape: field.text.regex(/^[A-Za-z0-9][A-Za-z0-9_.:/@-]*$/),
    fallback: 'mgx:latest',
  },
  AGENT_CANARY_IMAGE: {
    says: 'Another image of the agents, tried on a part of the workspaces: AGENT_CANARY_WEIGHT.',
    rule: 'must be the name of an image, such as mgx:latest',
    shape: field.text.regex(/^[A-Za-z0-9][A-Za-z0-9_.:/@-]*$/),
  },
  AGENT_CANARY_WEIGHT: {
    says: 'Percent of the workspaces whose runs get AGENT_CANARY_IMAGE: the same ones while it stands, and those still when it grows. 0 = none.',
    rule: 'must be a whole number from 0 to 100',
    shape: field.int(0, 100),
    fallback: '0',
  },
  AGENT_CONTAINER_MEMORY_LIMIT: {
    says: 'Memory of an agent container, swap included.',
    rule: 'must be a size of at least 64m: a whole number with k, m or g behind it, or of bytes',
    shape: field.bytes(64 * MIB),
    fallback: '2g',
  },
  AGENT_CONTAINER_CPU_QUOTA: {
    says: 'Microseconds of CPU time per 100000: 100000 is one core.',
    rule: 'must be a whole number from 1000 (a hundredth of a core)',
    shape: field.int(1_000, 1e9),
    fallback: '100000',
  },
  AGENT_CONTAINER_PIDS_LIMIT: {
    says: 'Processes and threads that an agent container may have.',
    rule: 'must be a whole number from 32 to 4194304',
    shape: field.int(32, 4_194_304),
    fallback: '512',
  },
  AGENT_TMP_SIZE: {
    says: 'Size of /tmp and of the home directory in an agent container, each. They count towards its memory.',
    rule: 'must be a size of at least 16m: a whole number with k, m or g behind it, or of bytes',
    shape: field.bytes(16 * MIB),
    fallback: '1g',
  },
  AGENT_NETWORK: {
    says: 'Docker network of the agents. On none, and in the direct channel on an internal one, the gateway is their only way out; on any other AGENT_EGRESS holds only programs that use the proxy, or nobody.',
    rule: 'must be the name of a Docker network',
    shape: field.text.regex(/^[A-Za-z0-9][A-Za-z0-9_.-]*$/),
    otherwise:
      'none with the gateway by socket; AGENT_DIRECT_NETWORK in the direct channel; bridge with GATEWAY_TCP_PORT',
  },
  AGENT_DIRECT_NETWORK: {
    says: 'Docker network of the agents in the direct channel, where AGENT_NETWORK says nothing. docker-compose.yml sets it, to an internal one.',
    rule: 'must be the name of a Docker network',
    shape: field.text.regex(/^[A-Za-z0-9][A-Za-z0-9_.-]*$/),
    fallback: 'bridge',
  },
  AGENT_USER: {
    says: 'Who the agent is in its container, and who owns new workspaces: numeric, never root.',
    rule: 'must be uid:gid in numbers, and not root',
    shape: field.user,
    otherwise: '1000:1000 when the worker is root, else its own user',
  },
} as const satisfies Record<string, Variable>

const runVariables = {
  AGENT_TASK_TIMEOUT_SECONDS: {
    says: 'Seconds that a run may take, counted from when a worker takes it up. A run may ask for another time.',
    rule: 'must be a whole number of seconds from 1 to 86400',
    shape: field.int(1, 86_400),
    fallback: '1800',
  },
  AGENT_MAX_STEPS: {
    says: 'Model calls that a run may make. A run may ask for another number.',
    rule: 'must be a whole number from 1 to 1000',
    shape: field.int(1, 1_000),
    fallback: '100',
  },
  WORKER_CONCURRENCY: {
    says: 'Runs that one worker has in hand at a time.',
    rule: 'must be a whole number from 1 to 1000',
    shape: field.int(1, 1_000),
    fallback: '4',
  },
  MAX_RUNNING_RUNS: {
    says: 'Runs at work at once in the whole installation, over all workers. The same value for each of them.',
    rule: 'must be a whole number from 1 to 100000',
    shape: field.int(1, 100_000),
    otherwise: 'as many as the workers have places for',
  },
  MAX_RUNNING_RUNS_PER_TENANT: {
    says: 'Runs of one tenant at work at once, over all workers.',
    rule: 'must be a whole number from 1 to 100000',
    shape: field.int(1, 100_000),
    otherwise: 'no limit of its own',
  },
  WORKER_MEMORY: {
    says: 'Memory of the machine that the agent containers run on. Set it where the Docker daemon is not on the machine of the worker.',
    rule: 'must be a size of at least 64m: a whole number with k, m or g behind it, or of bytes',
    shape: field.bytes(64 * MIB),
    otherwise:
      'all memory of this machine; not counted with ENGINE=process, nor with ENGINE=kubernetes, where the cluster does it',
  },
  WORKER_MEMORY_OVERCOMMIT: {
    says: 'How many times that memory the limits of the containers may add up to. What does not fit waits.',
    rule: 'must be a number from 0.1 to 100',
    shape: field.decimal(0.1, 100),
    fallback: '2',
  },
  WARM_POOL_SIZE: {
    says: 'Containers that wait started for the next runs, which then begin in milliseconds; up to twice as many after runs found none. 0 = none.',
    rule: 'must be a whole number from 0 to 1000',
    shape: field.int(0, 1_000),
    fallback: '2',
  },
  RECONCILE_DRY_RUN: {
    says: 'Reconcile only logs what it would end, enqueue or remove.',
    rule: 'must be 1 or 0',
    shape: field.flag,
    fallback: '0',
  },
} as const satisfies Record<string, Variable>

const channelVariables = {
  AGENT_CHANNEL: {
    says: 'How agents reach the outside: gateway (through the worker; no secret in the container) or direct (MongoDB and the model API by URL). docker-compose.yml sets direct.',
    rule: 'must be gateway or direct',
    shape: field.text.regex(/^(gateway|direct)$/).transform((value) => (value === 'direct' ? 'direct' : 'gateway')),
    fallback: 'gateway',
  },
  AGENT_MONGODB_URL: {
    says: 'Direct channel: what an agent gets as MONGODB_URL. Give it a user that may only find and insert in events.',
    rule: 'must be a mongodb:// or mongodb+srv:// URL',
    shape: field.url('mongodb', 'mongodb+srv'),
    secret: true,
  },
  GATEWAY_TCP_PORT: {
    says: 'Gateway channel: serves it on this TCP port, for places where sockets cannot be mounted.',
    rule: 'must be a TCP port: a whole number from 1 to 65535',
    shape: field.int(1, 65_535),
    otherwise: 'a unix socket for each run, mounted into its container',
  },
  GATEWAY_TCP_HOST: {
    says: 'Address that the gateway listens on, with GATEWAY_TCP_PORT. Every request needs the token of its run.',
    rule: 'must be a host name or an IP address',
    shape: field.host,
    fallback: '0.0.0.0',
  },
  GATEWAY_TCP_URL: {
    says: 'Where the containers find it, with GATEWAY_TCP_PORT. With several workers the address of a load balancer before all of them.',
    rule: 'must be an http:// or https:// URL',
    shape: field.baseUrl,
    otherwise: 'http://host.docker.internal:<GATEWAY_TCP_PORT>',
  },
} as const satisfies Record<string, Variable>

const egressVariables = {
  AGENT_EGRESS: {
    says: 'Where commands of agents may connect to: all (public hosts on ports 80 and 443), none, or a list separated by commas. options.egress of a run can only narrow it.',
    rule: 'must be all, none, or hosts (example.com), wildcards (*.example.com), addresses and named sets (registries, github), each but the sets with :port where it is not 80 or 443',
    shape: field.text,
    fallback: 'all',
  },
  EGRESS_ALLOW_PRIVATE: {
    says: 'Ranges of addresses that are not public and that AGENT_EGRESS may open all the same, such as that of your own package registry.',
    rule: 'must be addresses or ranges such as 10.20.0.0/16, separated by commas',
    shape: field.list,
    otherwise: 'private, loopback and link-local addresses are closed',
  },
} as const satisfies Record<string, Variable>

export const AGENTS = {
  workspaces: workspaceVariables,
  engine: engineVariables,
  kubernetes: KUBERNETES,
  runs: runVariables,
  channel: channelVariables,
  egress: egressVariables,
}
