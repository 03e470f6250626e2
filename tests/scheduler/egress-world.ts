import { request } from 'node:http'
import { BlockList, type Socket } from 'node:net'
import { parseEgress } from '#contracts/egress.ts'
import { EGRESS_HEADER } from '#contracts/gateway-wire.ts'
import { type EgressConfig, PUBLIC_EGRESS } from '#scheduler/egress-guard.ts'
import type { Client } from './gateway-world.ts'

/** A loopback address that stands for the internet, because the operator opens it. */
export const INTERNET = '127.0.0.2'

/** An installation's egress whose only private range is {@link INTERNET}. */
export const egressOf = (policy: string, more: Partial<EgressConfig> = {}): EgressConfig => {
  const parsed = parseEgress(policy)
  if ('wrong' in parsed) throw new Error(parsed.wrong)
  const allowPrivate = new BlockList()
  allowPrivate.addAddress(INTERNET)
  return { ...PUBLIC_EGRESS, policy: parsed.policy, allowPrivate, ...more }
}

export type Connected = { readonly status: number; readonly says: string; readonly socket: Socket }

/** CONNECT at a gateway; the socket is the caller's. Rejects when the gateway cuts the connection. */
export const connectTo = ({ token, ...address }: Client, authority: string): Promise<Connected> => {
  const { promise, resolve, reject } = Promise.withResolvers<Connected>()
  const sent = request({
    ...address,
    host: '127.0.0.1',
    agent: false,
    method: 'CONNECT',
    path: authority,
    headers: { host: authority, 'proxy-authorization': `Bearer ${token}` },
  })
  sent.on('connect', ({ statusCode = 0, headers }, socket: Socket, head) => {
    socket.unshift(head)
    resolve({ status: statusCode, says: String(headers[EGRESS_HEADER] ?? ''), socket })
  })
  sent.on('error', reject)
  sent.end()
  return promise
}

/** Everything that comes until the other side ends. */
export const readAll = async (socket: Socket): Promise<string> => {
  let text = ''
  for await (const part of socket) text += String(part)
  return text
}
