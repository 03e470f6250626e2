import { BlockList } from 'node:net'
import { type EgressPolicy, type EgressTarget, parseEgress } from '#contracts/egress.ts'
import { parseRanges } from '#scheduler/egress-addresses.ts'
import type { EgressConfig } from '#scheduler/egress-guard.ts'
import type { WorkerConfig } from '#scheduler/worker-context.ts'
import type { AGENTS } from './config-agent-variables.ts'
import type { GENERAL } from './config-variables.ts'
import { ConfigError, type Values } from './read-env.ts'

type EgressValues = Values<(typeof AGENTS)['egress']>

/** The installation's policy. Throws `ConfigError` with what is wrong about which entry. */
export const egressPolicy = ({ AGENT_EGRESS: text }: Pick<EgressValues, 'AGENT_EGRESS'>): EgressPolicy => {
  const parsed = parseEgress(text)
  if ('wrong' in parsed) throw new ConfigError([`AGENT_EGRESS=${text}: ${parsed.wrong}`])
  return parsed.policy
}

/** Nothing stands between an agent and its network in the direct channel: a policy would be a promise that nobody keeps. */
export const guardDirect = ({ AGENT_EGRESS, EGRESS_ALLOW_PRIVATE }: EgressValues): void => {
  if (AGENT_EGRESS.trim().toLowerCase() !== 'all' || EGRESS_ALLOW_PRIVATE !== undefined)
    throw new ConfigError([
      'AGENT_EGRESS and EGRESS_ALLOW_PRIVATE: belong to the gateway and have no effect with AGENT_CHANNEL=direct; ' +
        'unset them, or set AGENT_CHANNEL=gateway',
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

type ServiceValues = Partial<Values<Pick<typeof GENERAL.services, 'MONGODB_URL' | 'REDIS_URL'>>>

/** What the gateway needs to judge connections. `ownPorts`: what this process itself listens on. Throws `ConfigError`. */
export const egressSettings = (
  values: EgressValues & ServiceValues,
  ownPorts: readonly (number | undefined)[],
): EgressConfig => ({
  policy: egressPolicy(values),
  allowPrivate: privateRanges(values),
  ours: [...hostsOf(values.MONGODB_URL, MONGODB_PORT), ...hostsOf(values.REDIS_URL, REDIS_PORT)],
  ownPorts: ownPorts.flatMap((port) => port ?? []),
})

/** What to say where a policy is set and containers have another way out. */
export const egressNotice = ({ channel, network }: WorkerConfig, values: EgressValues): readonly string[] =>
  channel.kind === 'gateway' && network !== 'none' && values.AGENT_EGRESS !== 'all'
    ? [
        `AGENT_EGRESS holds only programs that use the proxy: agents are on the network ${network}. Unset AGENT_NETWORK, ` +
          'or make that network an internal one',
      ]
    : []
