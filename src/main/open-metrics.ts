import { once } from 'node:events'
import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Logger } from 'pino'
import type { Listen } from './config.ts'
import { listenError } from './listen-error.ts'
import type { Metrics } from './metrics.ts'

export type OpenMetrics = Metrics & AsyncDisposable & { readonly url: string }

const say = (response: ServerResponse, status: number, type: string, text: string): void => {
  response.writeHead(status, { 'content-type': type, 'content-length': Buffer.byteLength(text) })
  response.end(text)
}

const PLAIN = 'text/plain; charset=utf-8'

const createAnswer = ({ contentType, text }: Metrics, log: Pick<Logger, 'warn'>) => {
  /** Who asks meanwhile gets the same answer. */
  let scrape: Promise<string> | undefined
  return async (response: ServerResponse): Promise<void> => {
    scrape ??= text().finally(() => {
      scrape = undefined
    })
    try {
      say(response, 200, contentType, await scrape)
    } catch (err) {
      log.warn({ err }, 'the figures could not be put together')
      say(response, 500, PLAIN, 'The figures could not be put together; the log has the reason.\n')
    }
  }
}

/**
 * Measures this process and serves what comes of it at /metrics, until disposed; `undefined` when nobody asked for it: then
 * nothing of it is loaded. Rejects with `StartError` when it cannot listen there.
 */
export const openMetrics = async (
  listen: Listen | undefined,
  log: Pick<Logger, 'info' | 'warn'>,
): Promise<OpenMetrics | undefined> => {
  if (listen === undefined) return undefined
  const { createMetrics } = await import('./metrics.ts')
  const metrics = createMetrics()
  const answer = createAnswer(metrics, log)
  const server = createServer(({ url = '/', method }, response) => {
    const isScrape = url.split('?')[0] === '/metrics' && (method === 'GET' || method === 'HEAD')
    if (isScrape) void answer(response)
    else say(response, 404, PLAIN, 'There is GET /metrics here, and nothing else.\n')
  })
  server.listen(listen.port, listen.host)
  try {
    await once(server, 'listening')
  } catch (error) {
    throw listenError(error, listen, { host: 'METRICS_HOST', port: 'METRICS_PORT' })
  }
  const { address, family, port } = server.address() as AddressInfo
  const url = `http://${family === 'IPv6' ? `[${address}]` : address}:${port}/metrics`
  log.info({ url }, 'figures for Prometheus')
  return {
    ...metrics,
    url,
    async [Symbol.asyncDispose]() {
      server.close()
      server.closeAllConnections()
    },
  }
}
