import type { RequestOptions } from 'node:http'

/** Where the gateway of a job listens, as node:http wants it: `unix:/run/mgx/gw.sock` or `http://host:port`. Throws on anything else. */
export const gatewayAddress = (url: string): Pick<RequestOptions, 'socketPath' | 'host' | 'port'> => {
  if (url.startsWith('unix:/')) return { socketPath: url.slice('unix:'.length) }
  const { protocol, hostname, port } = new URL(url)
  if (protocol !== 'http:') throw new Error('a gateway url is unix:/path or http://host:port')
  return { host: hostname, port: port === '' ? 80 : Number(port) }
}
