import { Agent, type ClientRequest, type IncomingMessage, type RequestOptions, request } from 'node:http'
import { Readable } from 'node:stream'
import { GATEWAY_UNAVAILABLE_HEADER } from '#contracts/gateway-wire.ts'
import { gatewayAddress } from './gateway-address.ts'

/** The gateway does not answer, or not yet: the worker restarts, or another one takes the run over. Wait and ask again. */
export class GatewayUnavailable extends Error {
  constructor(detail: string) {
    super(`the gateway is not there: ${detail}`)
    this.name = 'GatewayUnavailable'
  }
}

/** Statuses whose responses have no body (Fetch standard, "null body status"). */
const BODILESS: ReadonlySet<number> = new Set([101, 103, 204, 205, 304])

/** The answer as it comes. A gateway that leaves in the middle of it says so at its end: then nothing speaks against the model. */
const bodyOf = async function* (incoming: IncomingMessage): AsyncGenerator<Buffer> {
  for await (const part of incoming as AsyncIterable<Buffer>) yield part
  const left = incoming.trailers[GATEWAY_UNAVAILABLE_HEADER]
  if (left !== undefined) throw new GatewayUnavailable(left)
}

const toResponse = (incoming: IncomingMessage): Response => {
  const headers = new Headers()
  for (const [name, values] of Object.entries(incoming.headersDistinct))
    for (const value of values ?? []) headers.append(name, value)
  const status = incoming.statusCode ?? 502
  const body = BODILESS.has(status)
    ? null
    : (Readable.toWeb(Readable.from(bodyOf(incoming), { objectMode: false })) as ReadableStream<Uint8Array>)
  return new Response(body, { status, headers })
}

/** `fetch` by node:http. @param send begins the request @param failed what to reject with when it breaks before its answer */
export const fetchOver =
  (
    send: (options: RequestOptions, answered: (incoming: IncomingMessage) => void) => ClientRequest,
    failed: (error: Error) => Error,
  ): typeof globalThis.fetch =>
  async (input, init) => {
    const asked = new Request(input, { ...init, duplex: 'half' } as RequestInit)
    const { method, url: target, headers, body } = asked
    // Its own signal is heard only as long as the request is not collected, which may be in the middle of the answer.
    const signal = init?.signal ?? asked.signal
    const { pathname, search } = new URL(target)
    const payload = body === null ? undefined : Buffer.from(await new Response(body).arrayBuffer())
    const { promise, resolve, reject } = Promise.withResolvers<Response>()
    const sent = send(
      { method, path: `${pathname}${search}`, headers: Object.fromEntries(headers), signal },
      (incoming) => {
        const reason = incoming.headers[GATEWAY_UNAVAILABLE_HEADER]
        if (reason === undefined) return resolve(toResponse(incoming))
        incoming.resume()
        return reject(new GatewayUnavailable(String(reason)))
      },
    )
    sent.on('error', (error) => reject(signal.aborted ? signal.reason : failed(error)))
    sent.end(payload)
    return promise
  }

/**
 * `fetch` over the gateway of a job, whatever host the address names: the model API comes through the same socket as the
 * events. Rejects with `GatewayUnavailable` while nothing that serves this run listens there.
 */
export const createGatewayFetch = (url: string): typeof globalThis.fetch => {
  const own = { ...gatewayAddress(url), agent: new Agent({ keepAlive: true }) }
  return fetchOver(
    (options, answered) => request({ ...own, ...options }, answered),
    (error) => new GatewayUnavailable(error.message),
  )
}
