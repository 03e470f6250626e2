import { createServer, type IncomingMessage, request, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { createDial, type Dial, type Dialled } from './egress-dial.ts'

/**
 * The proxy that commands find in their environment: it listens on this container's loopback and passes connections on to
 * the gateway with the token of the run, which commands never see. It decides nothing: the gateway does, outside.
 */
export type EgressRelay = AsyncDisposable & {
  /** Variables by which curl, git, npm, pip, Node, Python and most others find a proxy. */
  readonly env: Readonly<Record<string, string>>
  /** What was refused since this was asked last. */
  refused(): string[]
}

/** Reached without a proxy: what a command itself has started. */
const NO_PROXY = 'localhost,127.0.0.1,::1,0.0.0.0'

/** curl reads `http_proxy` in lower case only, others in upper case; Node and Yarn want to be told by names of their own. */
const proxyEnv = (port: number): Record<string, string> => {
  const proxy = `http://127.0.0.1:${port}`
  return {
    ...{ http_proxy: proxy, https_proxy: proxy, no_proxy: NO_PROXY },
    ...{ HTTP_PROXY: proxy, HTTPS_PROXY: proxy, NO_PROXY },
    ...{ NODE_USE_ENV_PROXY: '1', YARN_HTTP_PROXY: proxy, YARN_HTTPS_PROXY: proxy },
  }
}

/** Of one connection only (RFC 9110, 7.6.1), or meant for the proxy. */
const OWN_HEADERS: ReadonlySet<string> = new Set([
  ...['connection', 'keep-alive', 'proxy-connection', 'proxy-authorization', 'proxy-authenticate', 'transfer-encoding'],
  ...['te', 'upgrade'],
])

/** Names and values in turn, as they came. */
const passedHeaders = (raw: readonly string[]): string[] => {
  const passed: string[] = []
  for (let i = 0; i + 1 < raw.length; i += 2) {
    const [name = '', value = ''] = raw.slice(i, i + 2)
    if (!OWN_HEADERS.has(name.toLowerCase())) passed.push(name, value)
  }
  return passed
}

type Refused = Extract<Dialled, { kind: 'refused' }>

/** As text, and as the reason phrase, which is all that many programs show of a refused CONNECT. */
const refusedHead = ({ status, says }: Refused): string => {
  const [code = '502'] = status.split(' ')
  return `HTTP/1.1 ${code} ${says.replace(/[^\x20-\x7e]/g, '?')}\r\n`
}

const tunnel = async (
  dial: Dial,
  note: (says: string) => void,
  message: IncomingMessage,
  client: Duplex,
  head: Buffer,
) => {
  const gone = new AbortController()
  client.once('close', () => gone.abort())
  const dialled = await dial(message.url ?? '', gone.signal)
  if (dialled.kind === 'refused') {
    note(dialled.says)
    const body = `${dialled.says}\n`
    const length = `content-type: text/plain\r\ncontent-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n`
    client.end(`${refusedHead(dialled)}${length}\r\n${body}`)
    return
  }
  const { socket } = dialled
  client.write('HTTP/1.1 200 Connection Established\r\n\r\n')
  client.write(dialled.head)
  socket.write(head)
  await Promise.all([pipeline(client, socket), pipeline(socket, client)]).catch(() => {
    client.destroy()
    socket.destroy()
  })
}

/** A request without TLS (`GET http://host/path`): a tunnel like any other, and the request spoken into it. */
const forward = async (
  dial: Dial,
  note: (says: string) => void,
  message: IncomingMessage,
  response: ServerResponse,
) => {
  const url = URL.parse(message.url ?? '')
  if (url === null || url.protocol !== 'http:') {
    response
      .writeHead(400, { 'content-type': 'text/plain' })
      .end('This is the proxy of an mgx agent: ask it for http:// addresses or CONNECT.\n')
    return
  }
  const gone = new AbortController()
  response.once('close', () => gone.abort())
  const dialled = await dial(`${url.hostname}:${url.port || 80}`, gone.signal)
  if (dialled.kind === 'refused') {
    note(dialled.says)
    response.writeHead(Number(dialled.status.split(' ')[0]), { 'content-type': 'text/plain' }).end(`${dialled.says}\n`)
    return
  }
  await converse(message, response, url, dialled.socket, gone.signal)
}

const converse = async (
  message: IncomingMessage,
  response: ServerResponse,
  url: URL,
  socket: Socket,
  signal: AbortSignal,
) => {
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>()
  const upstream = request(
    {
      createConnection: () => socket,
      method: message.method,
      path: `${url.pathname}${url.search}`,
      headers: [...passedHeaders(message.rawHeaders), 'connection', 'close'],
      signal,
    },
    resolve,
  )
  upstream.on('error', reject)
  const sending = pipeline(message, upstream)
  sending.catch(() => undefined)
  const incoming = await promise
  response.writeHead(incoming.statusCode ?? 502, incoming.statusMessage, passedHeaders(incoming.rawHeaders))
  await pipeline(incoming, response)
}

const listen = async (server: Server): Promise<number> => {
  const listening = Promise.withResolvers<void>()
  server.once('error', listening.reject)
  server.listen(0, '127.0.0.1', listening.resolve)
  await listening.promise
  return (server.address() as AddressInfo).port
}

/** Rejects when it cannot listen. Disposing ends every connection. */
export const openEgressRelay = async ({ url, token }: { url: string; token: string }): Promise<EgressRelay> => {
  const dial = createDial(url, token)
  const open = new Set<Socket>()
  let refused = new Set<string>()
  const note = (says: string) => void refused.add(says)
  // No limit to how long an upload may take: the command has one of its own.
  const server = createServer({ requestTimeout: 0 }, (message, response) => {
    forward(dial, note, message, response).catch(() => {
      if (!response.headersSent) response.writeHead(502, { 'content-type': 'text/plain' })
      response.end()
    })
  })
  server.on('connect', (message, client, head) => {
    client.on('error', () => client.destroy())
    tunnel(dial, note, message, client, head).catch(() => void client.destroy())
  })
  server.on('connection', (socket) => {
    open.add(socket)
    socket.once('close', () => open.delete(socket))
  })
  const port = await listen(server)
  return {
    env: proxyEnv(port),
    refused: () => {
      const said = [...refused]
      refused = new Set()
      return said
    },
    [Symbol.asyncDispose]: async () => {
      const closed = Promise.withResolvers<void>()
      server.close(() => closed.resolve())
      for (const socket of open) socket.destroy()
      await closed.promise
    },
  }
}
