import { Agent as HttpAgent, request as httpRequest } from 'node:http'
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https'
import type { Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { EGRESS_MODEL_HEADER } from '#contracts/gateway-wire.ts'
import { dialOnce } from './egress-dial.ts'
import { fetchOver, GatewayUnavailable } from './gateway-fetch.ts'

type Way = { readonly url: string; readonly token: string }

/** The gateway gives up on a connection after 20 s. */
const DIAL_MS = 30_000

const dial = async (way: Way, authority: string): Promise<Socket> => {
  const dialled = await dialOnce(way, authority, AbortSignal.timeout(DIAL_MS), { [EGRESS_MODEL_HEADER]: '1' })
  if (dialled.kind === 'open') {
    dialled.socket.unshift(dialled.head)
    return dialled.socket
  }
  throw dialled.kind === 'away' ? new GatewayUnavailable(dialled.why) : new Error(dialled.says)
}

/**
 * `fetch` to the host of `baseUrl` and to no other, through tunnels of the run's gateway that only the runner may ask for; TLS
 * is spoken with the model API itself. Rejects as the runtime's own does, or with `GatewayUnavailable`.
 */
export const createTunnelFetch = (baseUrl: string, way: Way): typeof globalThis.fetch => {
  const { protocol, hostname, port } = new URL(baseUrl)
  const isTls = protocol === 'https:'
  const authority = `${hostname}:${port || (isTls ? 443 : 80)}`
  const host = hostname.replace(/^\[|\]$/g, '')
  const agent = new (isTls ? HttpsAgent : HttpAgent)({ keepAlive: true })
  agent.createConnection = (options, done) => {
    // Empty for an address: SNI knows names only (RFC 6066).
    const { servername } = options as { servername?: string }
    const opened = dial(way, authority).then((socket) =>
      isTls ? connectTls({ socket, host, ...(servername && { servername }) }) : socket,
    )
    opened.then(
      (socket) => done?.(null, socket),
      (error) => done?.(error, undefined as never),
    )
    return undefined
  }
  const own = { host, ...(port && { port }), agent }
  return fetchOver(
    (options, answered) => (isTls ? httpsRequest : httpRequest)({ ...own, ...options }, answered),
    (error) => (error instanceof GatewayUnavailable ? error : new TypeError('fetch failed', { cause: error })),
  )
}
