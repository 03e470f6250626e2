import http, { type ClientRequest, type IncomingMessage, type ServerResponse } from 'node:http'
import https from 'node:https'
import type { Writable } from 'node:stream'
import { GATEWAY_MODEL_MAX_BYTES, GATEWAY_MODEL_PATH, GATEWAY_UNAVAILABLE_HEADER } from '#contracts/gateway-wire.ts'
import { refuse, sendJson } from './gateway-http.ts'

export type Upstream = {
  /** Up to and including the version: `https://api.openai.com/v1`. */
  readonly baseUrl: string
  readonly apiKey: string
}

/** What belongs to one connection and never travels on (RFC 9110, 7.6.1), and what the gateway sets by itself. */
const DROPPED: ReadonlySet<string> = new Set([
  ...['connection', 'keep-alive', 'proxy-authenticate', 'proxy-authorization', 'proxy-connection', 'te', 'trailer'],
  ...['transfer-encoding', 'upgrade', 'host', 'authorization', 'api-key', 'x-api-key', 'cookie', 'set-cookie'],
  // Answers come as they are, so that an error can be read here; `expect` would have to be answered here.
  ...['accept-encoding', 'expect'],
])

const passed = (headers: IncomingMessage['headers']): http.OutgoingHttpHeaders => {
  const named = new Set(
    String(headers.connection ?? '')
      .toLowerCase()
      .split(/\s*,\s*/),
  )
  return Object.fromEntries(Object.entries(headers).filter(([name]) => !DROPPED.has(name) && !named.has(name)))
}

const SEGMENT = /^(?!\.+$)[A-Za-z0-9._:~-]+$/

/** The path behind the base URL: plain names only, so that nothing leads out of it. */
export const upstreamPath = (baseUrl: URL, target: string): string | undefined => {
  const [path = '', ...query] = target.split('?')
  const rest = path.slice(GATEWAY_MODEL_PATH.length + 1)
  if (!path.startsWith(`${GATEWAY_MODEL_PATH}/`) || !rest.split('/').every((part) => SEGMENT.test(part)))
    return undefined
  return `${baseUrl.pathname.replace(/\/$/, '')}/${rest}${query.length === 0 ? '' : `?${query.join('?')}`}`
}

const ERROR_MAX_BYTES = 64 * 1024

/** An API that repeats the key in its complaint must not carry it into the container. */
const passError = async (incoming: IncomingMessage, response: ServerResponse, apiKey: string): Promise<void> => {
  const parts: Buffer[] = []
  let size = 0
  for await (const part of incoming as AsyncIterable<Buffer>) {
    if (size < ERROR_MAX_BYTES) parts.push(part)
    size += part.length
  }
  const text = Buffer.concat(parts).toString()
  const safe = apiKey === '' ? text : text.replaceAll(apiKey, '[redacted]')
  const { 'content-length': _length, ...headers } = passed(incoming.headers)
  response.writeHead(incoming.statusCode ?? 502, headers)
  response.end(safe)
}

const pass = async (
  incoming: IncomingMessage,
  response: ServerResponse,
  apiKey: string,
  signal: AbortSignal,
): Promise<void> => {
  const status = incoming.statusCode ?? 502
  if (status >= 400) return passError(incoming, response, apiKey)
  const headers = passed(incoming.headers)
  // What has a length cannot say at its end why it is short (RFC 9110, 6.5).
  const mayExplain = headers['content-length'] === undefined
  response.writeHead(status, { ...headers, ...(mayExplain && { trailer: GATEWAY_UNAVAILABLE_HEADER }) })
  response.flushHeaders()
  try {
    for await (const part of incoming as AsyncIterable<Buffer>) if (!response.write(part)) await drained(response)
  } catch (error) {
    if (!signal.aborted || !mayExplain) throw error
    response.addTrailers({ [GATEWAY_UNAVAILABLE_HEADER]: LEAVING })
  }
  response.end()
}

/** Sends the body on while it comes; false when it turned out too long: then all of it has been read, and nothing was asked. */
const sendOn = async (request: IncomingMessage, upstream: ClientRequest): Promise<boolean> => {
  let size = 0
  for await (const part of request as AsyncIterable<Buffer>) {
    size += part.length
    if (size > GATEWAY_MODEL_MAX_BYTES) upstream.destroy()
    else if (!upstream.destroyed && !upstream.write(part)) await drained(upstream)
  }
  if (size > GATEWAY_MODEL_MAX_BYTES) return false
  upstream.end()
  return true
}

const drained = (to: Writable): Promise<void> => {
  const { promise, resolve } = Promise.withResolvers<void>()
  const events = ['drain', 'close', 'error'] as const
  const done = () => {
    for (const event of events) to.off(event, done)
    resolve()
  }
  for (const event of events) to.on(event, done)
  return promise
}

/** What becomes of an answer that this gateway does not see to its end. */
export const LEAVING = 'this gateway serves the run no longer; another one does'

export type ModelProxy = {
  /** Passes a request on and its answer back, both as they come. Throws `MgxError` before it has answered. */
  pass(request: IncomingMessage, response: ServerResponse, signal: AbortSignal): Promise<void>
  close(): void
}

/** Opens requests to the model API; connections are kept. */
const createConnector = ({ baseUrl, apiKey }: Upstream) => {
  const base = new URL(baseUrl)
  const { request: open, Agent } = base.protocol === 'https:' ? https : http
  const agent = new Agent({ keepAlive: true })
  const connect = (request: IncomingMessage, path: string) => {
    const answer = Promise.withResolvers<IncomingMessage>()
    const upstream = open({
      agent,
      protocol: base.protocol,
      hostname: base.hostname.replace(/^\[|\]$/g, ''),
      port: base.port,
      method: request.method,
      path,
      headers: { ...passed(request.headers), authorization: `Bearer ${apiKey}`, host: base.host },
    })
    upstream.on('response', answer.resolve)
    upstream.on('error', answer.reject)
    return { upstream, answer: answer.promise }
  }
  return { base, connect, close: () => agent.destroy() }
}

export const createModelProxy = (api: Upstream): ModelProxy => {
  const { base, connect, close } = createConnector(api)
  const passOn: ModelProxy['pass'] = async (request, response, signal) => {
    const path = upstreamPath(base, request.url ?? '')
    if (path === undefined) throw refuse('NOT_FOUND', 'There is no such path of the model API.')
    const { upstream, answer } = connect(request, path)
    const stop = () => void upstream.destroy()
    response.once('close', stop)
    signal.addEventListener('abort', stop, { once: true })
    let whole = false
    try {
      // A client that goes away in the middle of its body closes the response, too, which ends all the rest.
      const fits = sendOn(request, upstream).catch(() => true)
      const incoming = await answer.catch(async (error: unknown) => {
        if (await fits) throw error
        throw refuse('PAYLOAD_TOO_LARGE', `A request here has at most ${GATEWAY_MODEL_MAX_BYTES} bytes.`)
      })
      await pass(incoming, response, api.apiKey, signal)
      whole = true
    } finally {
      response.off('close', stop)
      signal.removeEventListener('abort', stop)
      // A connection whose answer came whole is kept for the next request.
      if (!whole) upstream.destroy()
    }
  }
  return { pass: passOn, close }
}

/** The model API could not be reached, or broke off: a failure of the model, in the words of its own protocol. */
export const sendBroken = (response: ServerResponse, error: unknown): void => {
  if (response.headersSent) {
    response.destroy()
    return
  }
  const reason = (error as NodeJS.ErrnoException).code ?? 'it broke off'
  sendJson(response, 502, {
    error: { message: `the model API cannot be reached: ${reason}`, type: 'upstream_unreachable' },
  })
}
