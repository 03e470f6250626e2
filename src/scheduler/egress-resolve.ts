import type { LookupAddress } from 'node:dns'
import { Resolver } from 'node:dns/promises'
import { readFile } from 'node:fs/promises'
import { isIP } from 'node:net'

/** All addresses of a name. Rejects when there are none, with `code` as of node:dns. */
export type Resolve = (host: string) => Promise<readonly LookupAddress[]>

/** For each try at a name server. */
const TRY_MS = 3_000
const TRIES = 2

const withFamily = (address: string): LookupAddress => ({ address, family: isIP(address) })

/** What a hosts file says of a name, which may be nothing. Pure. */
export const inHosts = (text: string, host: string): LookupAddress[] =>
  text.split('\n').flatMap((line) => {
    const [address = '', ...names] = line.replace(/#.*/, '').trim().split(/\s+/)
    return isIP(address) !== 0 && names.some((name) => name.toLowerCase() === host) ? [withFamily(address)] : []
  })

/**
 * The hosts file, else DNS, spoken by this process itself. Not getaddrinfo(3): it takes a thread for as long as a name
 * server likes to be silent, there are two of them for all names of this process (libuv), and whoever runs a name server
 * could so keep the worker from its database. A new resolver each time: name servers change under a long life.
 */
export const resolveName: Resolve = async (host) => {
  if (isIP(host) !== 0) return [withFamily(host)]
  const known = inHosts(await readFile('/etc/hosts', 'utf8').catch(() => ''), host)
  if (known.length > 0) return known
  const resolver = new Resolver({ timeout: TRY_MS, tries: TRIES })
  const [v4, v6] = await Promise.allSettled([resolver.resolve4(host), resolver.resolve6(host)])
  const found = [v4, v6].flatMap((one) => (one.status === 'fulfilled' ? one.value.map(withFamily) : []))
  if (found.length === 0 && v4.status === 'rejected') throw v4.reason
  return found
}
