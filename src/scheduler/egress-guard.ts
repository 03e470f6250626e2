import type { LookupAddress } from 'node:dns'
import { BlockList } from 'node:net'
import { networkInterfaces } from 'node:os'
import { allows, DEFAULT_PORTS, type EgressPolicy, type EgressTarget } from '#contracts/egress.ts'
import type { EventData } from '#contracts/events.ts'
import { closedAddress, closedName } from './egress-addresses.ts'
import { type Resolve, resolveName } from './egress-resolve.ts'

export type RefusalReason = EventData['egress_refused']['reason']

/** What the installation adds to every policy. */
export type EgressConfig = {
  /** The installation's policy; a run can only narrow it. */
  readonly policy: EgressPolicy
  /** Ranges that are not public, and open all the same: an operator's own registry. */
  readonly allowPrivate: BlockList
  /** Services of ours, which no policy opens. */
  readonly ours: readonly EgressTarget[]
  /** Ports of ours on this machine, whatever address of it somebody names. */
  readonly ownPorts: readonly number[]
  /** The model API, where runners reach it through here: open to them in every policy, public or not, and to nobody else. */
  readonly model?: EgressTarget
}

/** Every public host, and nothing of anybody's own. */
export const PUBLIC_EGRESS: EgressConfig = {
  policy: [{ kind: 'any' }],
  allowPrivate: new BlockList(),
  ours: [],
  ownPorts: [],
}

export type Decision =
  /** One of these very addresses is to be connected to: asked again, the name might say another. */
  | { readonly kind: 'connect'; readonly addresses: readonly LookupAddress[] }
  | { readonly kind: 'refused'; readonly reason: RefusalReason; readonly says: string }
  /** Allowed, and nowhere: the name has no address. */
  | { readonly kind: 'unknown'; readonly says: string }

export type EgressGuard = (policy: EgressPolicy, target: EgressTarget) => Promise<Decision>

/** What the guard asks of this machine. */
export type Surroundings = { readonly resolve: Resolve; readonly isOwn: (address: string) => boolean }

const name = ({ host, port }: EgressTarget): string => `${host.includes(':') ? `[${host}]` : host}:${port}`

const TEXTS: Readonly<Record<RefusalReason, string>> = {
  not_allowed:
    "is not in this run's egress policy. AGENT_EGRESS of the installation and options.egress of the run decide",
  port_not_allowed: `has a port that its egress policy does not open: without an entry host:port it is ${DEFAULT_PORTS.join(' and ')}. AGENT_EGRESS and options.egress decide`,
  private_address:
    'has no public address: private, loopback and link-local ones are closed in every policy. The operator can open a range with EGRESS_ALLOW_PRIVATE',
  metadata_address: 'is the metadata service of a cloud, which is closed in every policy',
  own_service: 'is a part of mgx itself, which is closed in every policy',
  too_many: 'would be one connection too many at once for this run. Close some, and try again',
}

/** A refusal in words for the agent and for whoever reads the log: what, why, and who can change it. */
export const refusal = (target: EgressTarget, reason: RefusalReason) =>
  ({ kind: 'refused', reason, says: `mgx egress: ${name(target)} ${TEXTS[reason]}.` }) as const

const isThisMachine = (address: string): boolean =>
  /^(127\.|::1$)/.test(address) ||
  Object.values(networkInterfaces()).some((all) => all?.some((one) => one.address === address))

/** True when another port of the same host would be let through. */
const onlyPort = (policy: EgressPolicy, { host }: EgressTarget): boolean =>
  policy.some((rule) => allows([rule], { host, port: rule.kind === 'any' ? 443 : (rule.port ?? 443) }))

/** Our services by the addresses they have now; one whose name says nothing is known by its name alone. */
const oursAt = async (ours: readonly EgressTarget[], port: number, resolve: Resolve): Promise<Set<string>> => {
  const known = ours.filter((one) => one.port === port)
  const found = await Promise.all(known.map(({ host }) => resolve(host).catch(() => [])))
  return new Set(found.flat().map(({ address }) => address))
}

/**
 * Decides about one connection. The name is resolved once, here, after the policy has let it pass: a name that is not
 * allowed is never asked for, and what is connected to is what was looked at.
 */
export const createEgressGuard =
  (
    config: Omit<EgressConfig, 'policy'>,
    { resolve, isOwn }: Surroundings = { resolve: resolveName, isOwn: isThisMachine },
  ): EgressGuard =>
  async (policy, target) => {
    const { host, port } = target
    const closed = closedName(host)
    if (closed !== undefined) return refusal(target, closed)
    if (config.ours.some((one) => one.host === host && one.port === port)) return refusal(target, 'own_service')
    if (!allows(policy, target)) return refusal(target, onlyPort(policy, target) ? 'port_not_allowed' : 'not_allowed')
    const found = await resolve(host).catch((error: NodeJS.ErrnoException) => error)
    if (found instanceof Error)
      return { kind: 'unknown', says: `mgx egress: ${host} has no address (${found.code ?? 'the look-up failed'}).` }
    const ours = await oursAt(config.ours, port, resolve)
    const judge = ({ address }: LookupAddress): RefusalReason | undefined => {
      if (ours.has(address)) return 'own_service'
      const here = isOwn(address)
      if (here && config.ownPorts.includes(port)) return 'own_service'
      if (here && !config.allowPrivate.check(address, address.includes(':') ? 'ipv6' : 'ipv4')) return 'private_address'
      return closedAddress(address, config.allowPrivate)
    }
    const judged = found.map((one) => ({ one, reason: judge(one) }))
    const addresses = judged.flatMap(({ one, reason }) => (reason === undefined ? [one] : []))
    return addresses.length > 0
      ? { kind: 'connect', addresses }
      : refusal(target, judged[0]?.reason ?? 'private_address')
  }
