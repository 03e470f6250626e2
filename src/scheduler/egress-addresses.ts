import { BlockList, isIP } from 'node:net'

/** Why no policy opens an address. */
export type NotPublic = 'metadata_address' | 'private_address'

/**
 * IPv4 that is not the public internet: IANA's special-purpose registry (RFC 6890 and its updates), multicast and class E.
 * What a cloud tells its machines about themselves, credentials among it, lies in the link-local range, but for Alibaba's
 * (in the carrier-grade range) and Azure's (168.63.129.16, a public address): see METADATA.
 */
const NOT_PUBLIC_V4: readonly (readonly [string, number])[] = [
  ['0.0.0.0', 8],
  ['10.0.0.0', 8],
  ['100.64.0.0', 10],
  ['127.0.0.0', 8],
  ['169.254.0.0', 16],
  ['172.16.0.0', 12],
  ['192.0.0.0', 24],
  ['192.0.2.0', 24],
  ['192.88.99.0', 24],
  ['192.168.0.0', 16],
  ['198.18.0.0', 15],
  ['198.51.100.0', 24],
  ['203.0.113.0', 24],
  ['224.0.0.0', 4],
  ['240.0.0.0', 4],
]

/** AWS (and most others), its container credentials, Alibaba, Azure's wire server, Oracle; AWS and Google by IPv6. */
const METADATA_V4 = [
  '169.254.169.254',
  '169.254.170.2',
  '169.254.170.23',
  '100.100.100.200',
  '168.63.129.16',
  '192.0.0.192',
]
const METADATA_V6 = ['fd00:ec2::254', 'fd00:ec2::23', 'fd20:ce::254']

/** Their names; the addresses are refused whatever they are called. */
const METADATA_NAMES: ReadonlySet<string> = new Set(['metadata.google.internal', 'metadata.goog', 'instance-data'])

/** Global unicast (RFC 4291) less what is special in it: protocol assignments with Teredo, documentation twice. */
const PUBLIC_V6: readonly [string, number] = ['2000::', 3]
const NOT_PUBLIC_V6: readonly (readonly [string, number])[] = [
  ['2001::', 23],
  ['2001:db8::', 32],
  ['3fff::', 20],
]

const listOf = (
  v4: readonly (readonly [string, number])[],
  v6: readonly (readonly [string, number])[] = [],
): BlockList => {
  const list = new BlockList()
  for (const [net, prefix] of v4) list.addSubnet(net, prefix, 'ipv4')
  for (const [net, prefix] of v6) list.addSubnet(net, prefix, 'ipv6')
  return list
}

const METADATA = listOf(
  METADATA_V4.map((address) => [address, 32] as const),
  METADATA_V6.map((address) => [address, 128] as const),
)
const CLOSED = listOf(NOT_PUBLIC_V4, NOT_PUBLIC_V6)
const OPEN_V6 = listOf([], [PUBLIC_V6])

const has = (list: BlockList, address: string): boolean => list.check(address, isIP(address) === 6 ? 'ipv6' : 'ipv4')

/** The eight groups of an IPv6 address. A zone (`%eth0`) is no part of them. */
const groupsOf = (address: string): number[] => {
  const written = new URL(`http://[${address.replace(/%.*$/, '')}]`).hostname.slice(1, -1)
  const [head = '', tail] = written.split('::')
  const numbers = (part: string) =>
    part
      .split(':')
      .filter(Boolean)
      .map((group) => Number.parseInt(group, 16))
  const [left, right] = [numbers(head), numbers(tail ?? '')]
  return [...left, ...Array.from({ length: 8 - left.length - right.length }, () => 0), ...right]
}

/** Where an IPv6 address holds the IPv4 address that its packets go to: prefix, and the first of the two groups. */
const EMBEDDED: readonly { readonly prefix: readonly number[]; readonly at: number }[] = [
  { prefix: [0, 0, 0, 0, 0, 0xff_ff], at: 6 }, // mapped
  { prefix: [0, 0, 0, 0, 0xff_ff, 0], at: 6 }, // translated (RFC 2765)
  { prefix: [0, 0, 0, 0, 0, 0], at: 6 }, // compatible, with :: and ::1 in it
  { prefix: [0x64, 0xff9b, 0, 0, 0, 0], at: 6 }, // NAT64 (RFC 6052)
  { prefix: [0x20_02], at: 1 }, // 6to4 (RFC 3056)
]

/** The IPv4 address that is meant by an IPv6 one, or `undefined`. */
const embeddedV4 = (address: string): string | undefined => {
  const groups = groupsOf(address)
  const found = EMBEDDED.find(({ prefix }) => prefix.every((group, i) => groups[i] === group))
  if (found === undefined) return undefined
  const [high = 0, low = 0] = groups.slice(found.at)
  return [high >> 8, high & 255, low >> 8, low & 255].join('.')
}

/** Ranges as an operator writes them (`10.0.0.0/8`, `fd00::/8`, `10.1.2.3`), or the first that is none. */
export const parseRanges = (texts: readonly string[]): BlockList | { readonly wrong: string } => {
  const list = new BlockList()
  for (const text of texts) {
    const [net = '', prefix] = text.split('/')
    const version = isIP(net)
    const widest = version === 6 ? 128 : 32
    const bits = prefix === undefined ? widest : Number(prefix)
    if (version === 0 || net.includes('%') || !/^\d{1,3}$/.test(prefix ?? '0') || bits > widest) return { wrong: text }
    list.addSubnet(net, bits, version === 6 ? 'ipv6' : 'ipv4')
  }
  return list
}

/** Why this name is closed whatever it resolves to, or `undefined`. */
export const closedName = (host: string): NotPublic | undefined =>
  METADATA_NAMES.has(host) ? 'metadata_address' : undefined

/**
 * Why nobody may connect to this address, or `undefined` for a public one. An IPv6 address that stands for an IPv4 one is
 * judged as that. `allowed` opens private ranges, never the addresses of a cloud's metadata.
 */
export const closedAddress = (address: string, allowed: BlockList): NotPublic | undefined => {
  const meant = isIP(address) === 6 ? (embeddedV4(address) ?? address) : address
  if (isIP(meant) === 0) return 'private_address'
  if (has(METADATA, meant)) return 'metadata_address'
  if (has(allowed, meant) || has(allowed, address)) return undefined
  const open = isIP(meant) === 4 ? !has(CLOSED, meant) : has(OPEN_V6, meant) && !has(CLOSED, meant)
  return open ? undefined : 'private_address'
}
