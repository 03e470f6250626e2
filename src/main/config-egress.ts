import { BlockList } from 'node:net'
import { type EgressPolicy, type EgressTarget, parseEgress, parseTarget } from '#contracts/egress.ts'
import { parseRanges } from '#scheduler/egress-addresses.ts'
import type { EgressConfig } from '#scheduler/egress-guard.ts'
import type { WorkerConfig } from '#scheduler/worker-context.ts'
import type { AGENTS } from './config-agent-variables.ts'
import type { ModelApi } from './config-rules.ts'
import type { GENERAL } from './config-variables.ts'
import { ConfigError, type Values } from './read-env.ts'

type EgressValues = Values<(typeof AGENTS)['egress']>

/** The installation's policy. Throws `ConfigError` with what is wrong about which entry. */
export const egressPolicy = ({ AGENT_EGRESS: text }: Pick<EgressValues, 'AGENT_EGRESS'>): EgressPolicy => {
  const parsed = parseEgress(text)
  if ('wrong' in parsed) throw new ConfigError([`AGENT_EGRESS=${text}: ${parsed.wrong}`])
  return parsed.policy
}

/** Docker's own network, which always leads out. */
export const OPEN_NETWORK = 'bridge'

/**
 * Nothing stands between an agent and that network in the direct channel: a policy would be a promise that nobody keeps. Of
 * other networks the engine is asked once it is there.
 */
export const guardDirect = ({ AGENT_EGRESS, EGRESS_ALLOW_PRIVATE }: EgressValues, network: string): void => {
  if (network !== OPEN_NETWORK) return
  if (AGENT_EGRESS.trim().toLowerCase() !== 'all' || EGRESS_ALLOW_PRIVATE !== undefined)
    throw new ConfigError([
      'AGENT_EGRESS and EGRESS_ALLOW_PRIVATE: have no effect with AGENT_CHANNEL=direct on the network bridge; unset them, ' +
        'set AGENT_CHANNEL=gateway, or AGENT_NETWORK to one made with `docker network create --internal`, with MongoDB on it',
    ])
}

/** Throws `ConfigError`. */
export const privateRanges = ({ EGRESS_ALLOW_PRIVATE: texts = [] }: EgressValues): BlockList => {
  const ranges = parseRanges(texts)
  if (ranges instanceof BlockList) return ranges
  throw new ConfigError([`EGRESS_ALLOW_PRIVATE: ${ranges.wrong} is neither an address nor a range such as 10.0.0.0/8`])
}

/** Ports that the two databases have unless told. */
const MONGODB_PORT = 27_017
const REDIS_PORT = 6379

/** `host`, `host:port`, several of them, behind whatever user and password there are. */
const hostsOf = (url: string | undefined, defaultPort: number): EgressTarget[] => {
  const authority = /^[a-z+]+:\/\/(?:[^/]*@)?([^/?#]*)/i.exec(url ?? '')?.[1] ?? ''
  return authority.split(',').flatMap((part) => {
    const [, host = '', port] = /^(\[[^\]]*\]|[^:]*)(?::(\d+))?$/.exec(part) ?? []
    return host === '' ? [] : [{ host: host.replace(/^\[|\]$/g, '').toLowerCase(), port: Number(port ?? defaultPort) }]
  })
}

type ServiceValues = Partial<Values<Pick<typeof GENERAL.services, 'MONGODB_URL' | 'REDIS_URL'>>> &
  Partial<Values<Pick<(typeof AGENTS)['channel'], 'AGENT_MONGODB_URL'>>>

/** Where the model API listens. */
export const modelTarget = ({ baseUrl }: Pick<ModelApi, 'baseUrl'>): EgressTarget | undefined => {
  const { hostname, port, protocol } = new URL(baseUrl)
  return parseTarget(`${hostname}:${port || (protocol === 'https:' ? 443 : 80)}`)
}

/** What the gateway needs to judge connections. `ownPorts`: what this process itself listens on. Throws `ConfigError`. */
export const egressSettings = (
  values: EgressValues & ServiceValues,
  ownPorts: readonly (number | undefined)[],
): EgressConfig => ({
  policy: egressPolicy(values),
  allowPrivate: privateRanges(values),
  ours: [
    ...hostsOf(values.MONGODB_URL, MONGODB_PORT),
    ...hostsOf(values.AGENT_MONGODB_URL, MONGODB_PORT),
    ...hostsOf(values.REDIS_URL, REDIS_PORT),
  ],
  ownPorts: ownPorts.flatMap((port) => port ?? []),
})

type NoticeValues = EgressValues & Pick<Values<(typeof AGENTS)['engine']>, 'ENGINE'>

/** What to say where a policy is set and containers have another way out. */
export const egressNotice = ({ channel, network }: WorkerConfig, values: NoticeValues): readonly string[] => {
  if (channel.kind !== 'gateway' || network === 'none' || values.AGENT_EGRESS === 'all') return []
  const held = 'AGENT_EGRESS holds only programs that use the proxy'
  // Which policies a cluster has, and whether it enforces them, a worker cannot see.
  if (values.ENGINE === 'kubernetes')
    return [`${held}, unless a NetworkPolicy lets agents reach nothing but the gateway and DNS (docs/kubernetes.md)`]
  return [`${held}: agents are on the network ${network}. Unset AGENT_NETWORK, or make that network an internal one`]
}
