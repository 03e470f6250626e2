import type { IncomingMessage } from 'node:http'
import { connect, type Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { type EgressPolicy, type EgressTarget, parseTarget } from '#contracts/egress.ts'
import { EGRESS_HEADER, GATEWAY_UNAVAILABLE_HEADER } from '#contracts/gateway-wire.ts'
import { type Decision, type EgressGuard, refusal } from './egress-guard.ts'
import type { Refusals } from './egress-refusals.ts'

/** Connections that one run may have open at once: npm uses 15 to a host, a browser 6. */
const MAX_TUNNELS = 128

/** How long a connection may take to be made, and then to be silent. */
const CONNECT_MS = 20_000
const IDLE_MS = 600_000

/** The same once the client has said its last: a program that was killed says no more either. */
const HALF_OPEN_MS = 60_000

/** One run's way out. */
export type EgressRun = {
  readonly policy: EgressPolicy
  readonly refusals: Refusals
  /** Aborts when the run is served no longer; every connection ends with it. */
  readonly signal: AbortSignal
  /** Open ones, which end with `signal`. */
  readonly tunnels: Set<Duplex>
}

/** The answer to a CONNECT that opens nothing. The text is in a header too: what reads a proxy's answer may skip its body. */
export const sendRefused = (
  client: Duplex,
  status: string,
  text: string,
  headers: Record<string, string> = {},
): void => {
  const lines = Object.entries({
    'content-type': 'text/plain; charset=utf-8',
    'content-length': String(Buffer.byteLength(text) + 1),
    connection: 'close',
    ...headers,
  }).map(([key, value]) => `${key}: ${value}\r\n`)
  client.end(`HTTP/1.1 ${status}\r\n${lines.join('')}\r\n${text}\n`, () => client.destroy())
}

export const sendNotServed = (client: Duplex, detail: string): void =>
  sendRefused(client, '503 Service Unavailable', detail, { [GATEWAY_UNAVAILABLE_HEADER]: detail })

/** Connects to one of these addresses and to nothing else. Rejects when none answers in time. */
const dial = (target: EgressTarget, { addresses }: Extract<Decision, { kind: 'connect' }>, signal: AbortSignal) => {
  const { promise, resolve, reject } = Promise.withResolvers<Socket>()
  const late = AbortSignal.any([signal, AbortSignal.timeout(CONNECT_MS)])
  const upstream = connect({
    host: target.host,
    port: target.port,
    allowHalfOpen: true,
    noDelay: true,
    autoSelectFamily: true,
    // An address is not looked up, and is itself what was judged.
    lookup: (_host, _options, done) => done(null, [...addresses]),
  })
  const giveUp = () => void upstream.destroy(new Error('it did not answer in time'))
  late.addEventListener('abort', giveUp, { once: true })
  if (late.aborted) giveUp()
  upstream.once('connect', () => {
    late.removeEventListener('abort', giveUp)
    resolve(upstream)
  })
  upstream.on('error', reject)
  return promise
}

/** Bytes both ways, each at the pace of the slower side, until both have ended or one has failed. */
const pump = async (client: Duplex, upstream: Socket): Promise<void> => {
  const end = () => {
    client.destroy()
    upstream.destroy()
  }
  upstream.setTimeout(IDLE_MS, end)
  client.once('end', () => upstream.setTimeout(HALF_OPEN_MS))
  await Promise.all([pipeline(client, upstream), pipeline(upstream, client)]).catch(end)
}

/**
 * CONNECT host:port of one run: refused with 403 and the reason, or a tunnel. Whatever goes wrong is answered here; never
 * rejects.
 */
export const openTunnel = async (
  guard: EgressGuard,
  { policy, refusals, signal, tunnels }: EgressRun,
  request: Pick<IncomingMessage, 'url'>,
  client: Duplex,
  head: Buffer,
): Promise<void> => {
  const target = parseTarget(request.url ?? '')
  if (target === undefined) return sendRefused(client, '400 Bad Request', 'CONNECT wants host:port')
  const full = tunnels.size >= MAX_TUNNELS
  tunnels.add(client)
  client.once('close', () => tunnels.delete(client))
  const decision = full ? refusal(target, 'too_many') : await guard(policy, target)
  if (decision.kind === 'unknown')
    return sendRefused(client, '502 Bad Gateway', decision.says, { [EGRESS_HEADER]: decision.says })
  if (decision.kind === 'refused') {
    await refusals.record(target, decision.reason, decision.says)
    const status = decision.reason === 'too_many' ? '429 Too Many Requests' : '403 Forbidden'
    return sendRefused(client, status, decision.says, { [EGRESS_HEADER]: decision.says })
  }
  try {
    const upstream = await dial(target, decision, signal)
    if (client.destroyed || signal.aborted) return void upstream.destroy()
    client.write('HTTP/1.1 200 Connection Established\r\n\r\n')
    if (head.length > 0) upstream.write(head)
    await pump(client, upstream)
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    const says = `mgx egress: ${target.host}:${target.port} cannot be reached (${code ?? message}).`
    sendRefused(client, '502 Bad Gateway', says, { [EGRESS_HEADER]: says })
  }
}
