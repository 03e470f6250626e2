import { isIP } from 'node:net'
import { domainToASCII } from 'node:url'
import { EGRESS_SET_NAMES, EGRESS_SETS, type EgressSetName } from './egress-sets.ts'

/**
 * Where the commands of an agent may connect to, as text: `none`, `all` (every public host) or a list of
 *   `registry.npmjs.org`   this host                      `*.example.com`   every name under it, itself not
 *   `203.0.113.7`, `[2001:db8::1]`   this address          `registries`      a named set ({@link EGRESS_SETS})
 * each on the ports 80 and 443, or with `:port` behind it on that port only. Addresses that are not public are the
 * gateway's business: no policy opens them.
 */
export type EgressRule =
  | { readonly kind: 'any' }
  /** `under`: the names that end with `.host`. No port = 80 and 443. */
  | { readonly kind: 'host' | 'under'; readonly host: string; readonly port?: number }

/** Whatever one of the rules lets through; no rules = nothing. */
export type EgressPolicy = readonly EgressRule[]

/** A policy as people read it. */
export type EgressText = 'all' | 'none' | readonly string[]

/** Where somebody wants to connect to; `host` as {@link parseTarget} writes it. */
export type EgressTarget = { readonly host: string; readonly port: number }

export const DEFAULT_PORTS: readonly number[] = [80, 443]

/** Entries that a list may have. */
export const EGRESS_MAX_ENTRIES = 100

type Parsed = { readonly policy: EgressPolicy } | { readonly wrong: string }

const LABEL = /^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?$/

/** An address that another spelling hides behind, as resolvers take it: `127.1`, `0x7f000001`. */
const isNumeric = (host: string): boolean => /^(\d+|0x[0-9a-f]*)$/.test(host.split('.').at(-1) ?? '')

const isName = (host: string): boolean =>
  host.length <= 253 && host.split('.').every((label) => LABEL.test(label)) && !isNumeric(host)

/** IPv6 as RFC 5952 writes it, without brackets; an IPv4 address in IPv6 clothes (`::ffff:1.2.3.4`) as what it is. */
const canonicalIpv6 = (address: string): string => {
  const written = new URL(`http://[${address}]`).hostname.slice(1, -1)
  const [, high, low] = /^::ffff:([0-9a-f]{1,4}):([0-9a-f]{1,4})$/.exec(written) ?? []
  if (high === undefined || low === undefined) return written
  const [a, b] = [Number.parseInt(high, 16), Number.parseInt(low, 16)]
  return [a >> 8, a & 255, b >> 8, b & 255].join('.')
}

const isIpv6 = (text: string): boolean => isIP(text) === 6 && !text.includes('%')

const portOf = (text: string | undefined): number | undefined =>
  text !== undefined && /^[1-9]\d{0,4}$/.test(text) && Number(text) <= 65_535 ? Number(text) : undefined

type Split = { readonly host: string; readonly port?: string }

/** The parts of `host`, `host:port`, `[v6]`, `[v6]:port` and a bare `v6`; `undefined` where there are none. */
const split = (entry: string): Split | undefined => {
  if (isIpv6(entry)) return { host: canonicalIpv6(entry) }
  const [, v6, name = '', port] = /^(?:\[([^\]]*)\]|([^:[\]]*))(?::(.*))?$/s.exec(entry) ?? []
  if (v6 === undefined && name === '') return undefined
  if (v6 !== undefined && !isIpv6(v6)) return undefined
  const host = v6 === undefined ? name.replace(/\.$/, '') : canonicalIpv6(v6)
  return { host, ...(port !== undefined && { port }) }
}

const wrong = (entry: string, why: string) => ({ wrong: `${JSON.stringify(entry.slice(0, 80))} ${why}` })

const EXAMPLE = 'such as registry.npmjs.org, *.example.com, example.com:8443, 203.0.113.7 or registries'

const hostRule = (entry: string, { host, port: portText }: Split): Parsed => {
  const port = portOf(portText)
  if (portText !== undefined && port === undefined)
    return wrong(entry, 'has no port behind its colon: a port is a whole number from 1 to 65535')
  const at = port === undefined ? {} : { port }
  if (isIP(host) !== 0) return { policy: [{ kind: 'host', host, ...at }] }
  const name = host.replace(/^\*\./, '')
  if (name.includes('*'))
    return wrong(entry, 'has its wildcard elsewhere than alone at the beginning: write *.example.com, or all')
  if (!isName(name)) return wrong(entry, `is not a host: write a name or an address, ${EXAMPLE}`)
  if (name !== host) return { policy: [{ kind: 'under', host: name, ...at }] }
  if (!name.includes('.') && port === undefined)
    return wrong(
      entry,
      `is no named set (there are: ${EGRESS_SET_NAMES.join(', ')}); a host whose name has no dot is written with its port`,
    )
  return { policy: [{ kind: 'host', host: name, ...at }] }
}

const isSet = (name: string): name is EgressSetName => Object.hasOwn(EGRESS_SETS, name)

const parseEntry = (text: string): Parsed => {
  const trimmed = text.trim().toLowerCase()
  // biome-ignore lint/suspicious/noControlCharactersInRegex: everything but ASCII
  const entry = /[^\x00-\x7f]/.test(trimmed) ? domainToASCII(trimmed) : trimmed
  if (entry === '') return wrong(text, `is not a host: write a name or an address, ${EXAMPLE}`)
  if (entry === 'all') return { policy: [{ kind: 'any' }] }
  if (entry === 'none') return wrong(text, 'stands alone: write none, or a list')
  if (entry.includes('/'))
    return wrong(
      text,
      'is a URL, a path or a range: write only the host, and :port behind it where that is not 80 or 443',
    )
  if (isSet(entry)) return parseList(EGRESS_SETS[entry])
  const parts = split(entry)
  if (parts === undefined) return wrong(text, `is not a host: write a name or an address, ${EXAMPLE}`)
  if (isSet(parts.host)) return wrong(text, 'is a named set, which takes no port: list the hosts with their ports')
  return hostRule(text, parts)
}

const parseList = (entries: readonly string[]): Parsed => {
  const rules: EgressRule[] = []
  for (const entry of entries) {
    const parsed = parseEntry(entry)
    if ('wrong' in parsed) return parsed
    rules.push(...parsed.policy)
  }
  return { policy: tidy(rules) }
}

/** A policy out of its text (entries separated by commas) or its list, or what is wrong with it. Never throws. */
export const parseEgress = (given: string | readonly string[]): Parsed => {
  const entries = typeof given === 'string' ? given.split(',').filter((entry) => entry.trim() !== '') : given
  if (entries.length === 0) return { wrong: 'an empty list: write none, all, or what is allowed' }
  if (entries.length > EGRESS_MAX_ENTRIES)
    return { wrong: `${entries.length} entries: a list has at most ${EGRESS_MAX_ENTRIES}` }
  if (entries.length === 1 && entries[0]?.trim().toLowerCase() === 'none') return { policy: [] }
  return parseList(entries)
}

/** `host:port` or `[v6]:port` as a proxy is asked for it, in one spelling; `undefined` when it is none. */
export const parseTarget = (authority: string): EgressTarget | undefined => {
  const parts = split(authority.toLowerCase())
  const port = portOf(parts?.port)
  if (parts === undefined || port === undefined) return undefined
  if (isIP(parts.host) !== 0) return { host: parts.host, port }
  // As resolvers read it: every spelling of an IPv4 address becomes that address.
  if (!/^[a-z0-9._-]+$/.test(parts.host) || !URL.canParse(`http://${parts.host}/`)) return undefined
  const host = new URL(`http://${parts.host}/`).hostname
  return isIP(host) === 4 || isName(host) ? { host, port } : undefined
}

const sharedPort = (a: number | undefined, b: number | undefined): { readonly port?: number } | undefined => {
  if (a === b) return a === undefined ? {} : { port: a }
  if (a !== undefined && b !== undefined) return undefined
  const port = a ?? b
  return port !== undefined && DEFAULT_PORTS.includes(port) ? { port } : undefined
}

const isUnder = (name: string, suffix: string): boolean => isIP(name) === 0 && name.endsWith(`.${suffix}`)

/** What both rules let through, which is one rule or nothing. */
const meet = (a: EgressRule, b: EgressRule): EgressRule | undefined => {
  if (a.kind === 'any') return b.kind === 'any' ? a : onDefaultPorts(b)
  if (b.kind === 'any') return onDefaultPorts(a)
  const port = sharedPort(a.port, b.port)
  if (port === undefined) return undefined
  if (a.host === b.host) {
    if (a.kind === b.kind) return { kind: a.kind, host: a.host, ...port }
    return undefined
  }
  if (b.kind === 'under' && isUnder(a.host, b.host)) return { kind: a.kind, host: a.host, ...port }
  if (a.kind === 'under' && isUnder(b.host, a.host)) return { kind: b.kind, host: b.host, ...port }
  return undefined
}

const onDefaultPorts = (rule: Exclude<EgressRule, { kind: 'any' }>): EgressRule | undefined =>
  rule.port === undefined || DEFAULT_PORTS.includes(rule.port) ? rule : undefined

const same = (a: EgressRule | undefined, b: EgressRule): boolean => a !== undefined && formatRule(a) === formatRule(b)

/** Without the rules that another one contains. */
const tidy = (rules: readonly EgressRule[]): EgressPolicy =>
  rules.filter(
    (rule, i) => !rules.some((other, j) => i !== j && same(meet(other, rule), rule) && (!same(other, rule) || j < i)),
  )

const intersect = (a: EgressPolicy, b: EgressPolicy): EgressPolicy =>
  tidy(a.flatMap((one) => b.flatMap((other) => meet(one, other) ?? [])))

/**
 * What is left when each level has had its say (the installation, later a tenant, the run): a later one can only narrow.
 * A level that says nothing takes nothing away.
 */
export const effectiveEgress = (
  installation: EgressPolicy,
  ...narrower: readonly (EgressPolicy | undefined)[]
): EgressPolicy =>
  narrower.reduce<EgressPolicy>((left, next) => (next === undefined ? left : intersect(left, next)), installation)

const lets = (rule: EgressRule, { host, port }: EgressTarget): boolean => {
  const allowed = rule.kind === 'any' || rule.port === undefined ? DEFAULT_PORTS.includes(port) : rule.port === port
  if (!allowed || rule.kind === 'any') return allowed
  return rule.kind === 'host' ? rule.host === host : isUnder(host, rule.host)
}

/** True when the policy has a rule for this target; whether its address is a public one is another question. */
export const allows = (policy: EgressPolicy, target: EgressTarget): boolean => policy.some((rule) => lets(rule, target))

const formatRule = (rule: EgressRule): string => {
  if (rule.kind === 'any') return 'all'
  const bare = rule.kind === 'under' ? `*.${rule.host}` : rule.host
  const host = rule.host.includes(':') ? `[${rule.host}]` : bare
  return rule.port === undefined ? host : `${host}:${rule.port}`
}

/** The inverse of {@link parseEgress}: named sets are written out. */
export const formatEgress = (policy: EgressPolicy): EgressText => {
  if (policy.length === 0) return 'none'
  const entries = policy.map(formatRule)
  return entries.length === 1 && entries[0] === 'all' ? 'all' : entries
}
