import { createServer, type IncomingMessage, type RequestListener } from 'node:http'
import { createServer as createTlsServer, type ServerOptions } from 'node:https'
import type { AddressInfo, Server } from 'node:net'
import type { TestContext } from 'node:test'

/** A server that stands for a place on the internet. */
export type HttpTarget = {
  readonly host: string
  readonly port: number
  /** `host:port` */
  readonly authority: string
  readonly seen: { readonly method: string; readonly url: string; readonly headers: IncomingMessage['headers'] }[]
}

type Options = {
  /** Another loopback address than 127.0.0.1, which commands reach without a proxy. */
  readonly host?: string
  readonly tls?: ServerOptions
  readonly answer?: RequestListener
}

const helloAnswer: RequestListener = (request, response) => {
  response.end(`hello from ${request.headers.host} ${request.url}\n`)
}

/** Listens on a free port until the test is over. */
export const openHttpTarget = async (
  t: Pick<TestContext, 'after'>,
  { host = '127.0.0.2', tls, answer = helloAnswer }: Options = {},
): Promise<HttpTarget> => {
  const seen: HttpTarget['seen'] = []
  const listener: RequestListener = (request, response) => {
    seen.push({ method: request.method ?? '', url: request.url ?? '', headers: request.headers })
    answer(request, response)
  }
  const server = tls === undefined ? createServer(listener) : createTlsServer(tls, listener)
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(0, host, resolve)
  })
  t.after(async () => {
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
  })
  const { port } = (server as Server).address() as AddressInfo
  return { host, port, authority: `${host}:${port}`, seen }
}
