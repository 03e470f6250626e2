import { request } from 'node:http'
import type { Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { EGRESS_HEADER, GATEWAY_UNAVAILABLE_HEADER } from '#contracts/gateway-wire.ts'
import { gatewayAddress } from './gateway-address.ts'

/** How long a command waits for a gateway that is away: a worker that dies is replaced within some 20 s. */
const PATIENCE_MS = 60_000
const FIRST_PAUSE_MS = 100
const LONGEST_PAUSE_MS = 2_000

export type Dialled =
  | { readonly kind: 'open'; readonly socket: Socket; readonly head: Buffer }
  /** `status` with its reason phrase. */
  | { readonly kind: 'refused'; readonly status: string; readonly says: string }

/** Opens a connection to `host:port` through the gateway. Rejects when that cannot be written into a request. */
export type Dial = (authority: string, signal: AbortSignal) => Promise<Dialled>

type Attempt = Dialled | { readonly kind: 'away'; readonly why: string }

/** Asks once. @param more headers, beside the token */
export const dialOnce = (
  { url, token }: { readonly url: string; readonly token: string },
  authority: string,
  signal: AbortSignal,
  more: Readonly<Record<string, string>> = {},
): Promise<Attempt> => {
  const { promise, resolve } = Promise.withResolvers<Attempt>()
  const sent = request({
    ...gatewayAddress(url),
    agent: false,
    method: 'CONNECT',
    path: authority,
    headers: { ...more, host: authority, 'proxy-authorization': `Bearer ${token}` },
    signal,
  })
  sent.on('connect', ({ statusCode, statusMessage, headers }, socket: Socket, head) => {
    if (statusCode === 200) return resolve({ kind: 'open', socket, head })
    socket.destroy()
    const away = headers[GATEWAY_UNAVAILABLE_HEADER]
    if (away !== undefined) return resolve({ kind: 'away', why: String(away) })
    const says = String(headers[EGRESS_HEADER] ?? `the gateway answered ${statusCode}`)
    return resolve({ kind: 'refused', status: `${statusCode} ${statusMessage}`, says })
  })
  sent.on('error', (error) => resolve({ kind: 'away', why: error.message }))
  sent.end()
  return promise
}

/** A gateway that is away is asked again: its worker restarts, or another one takes the run over. */
export const createDial =
  (url: string, token: string): Dial =>
  async (authority, signal) => {
    const deadline = Date.now() + PATIENCE_MS
    for (let ms = FIRST_PAUSE_MS; ; ms = Math.min(ms * 2, LONGEST_PAUSE_MS)) {
      const tried = await dialOnce({ url, token }, authority, signal)
      if (tried.kind !== 'away') return tried
      if (signal.aborted || Date.now() >= deadline)
        return {
          kind: 'refused',
          status: '503 Service Unavailable',
          says: `mgx egress: the gateway is away: ${tried.why}`,
        }
      await sleep(ms, undefined, { signal }).catch(() => undefined)
    }
  }
