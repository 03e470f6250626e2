import type { IncomingMessage, ServerResponse } from 'node:http'
import { type ErrorCode, MgxError } from '#contracts/errors.ts'
import { GATEWAY_UNAVAILABLE_HEADER } from '#contracts/gateway-wire.ts'

export const sendJson = (response: ServerResponse, status: number, body: unknown): void => {
  const text = JSON.stringify(body)
  response.writeHead(status, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) })
  response.end(text)
}

/** Says that the gateway cannot serve this just now; the runner asks again until its deadline. */
export const sendUnavailable = (
  response: ServerResponse,
  code: 'UNAUTHORIZED' | 'UNAVAILABLE',
  detail: string,
): void => {
  const error = new MgxError(code, 'The gateway cannot serve this run just now.', detail)
  response.setHeader(GATEWAY_UNAVAILABLE_HEADER, detail)
  sendJson(response, error.status, error.toBody())
}

export const refuse = (code: ErrorCode, message: string): MgxError => new MgxError(code, message)

/**
 * Throws away what is left of a request, so that a client that still writes reads the answer instead of a broken
 * connection.
 */
export const drain = async (request: IncomingMessage): Promise<void> => {
  request.resume()
  if (request.complete || request.destroyed) return
  const over = Promise.withResolvers<void>()
  request.once('close', over.resolve)
  request.once('end', over.resolve)
  await over.promise
}

/**
 * The whole body; throws PAYLOAD_TOO_LARGE once all of a longer one has been read away. By its events: waiting for each part in a
 * loop takes twice as long, and every event of a runner passes here.
 */
export const readBody = (request: IncomingMessage, maxBytes: number): Promise<Buffer> => {
  const { promise, resolve, reject } = Promise.withResolvers<Buffer>()
  const parts: Buffer[] = []
  let size = 0
  request.on('data', (part: Buffer) => {
    size += part.length
    if (size <= maxBytes) parts.push(part)
  })
  request.once('end', () => {
    if (size <= maxBytes) return resolve(Buffer.concat(parts))
    return reject(refuse('PAYLOAD_TOO_LARGE', `A body here has at most ${maxBytes} bytes; this one had ${size}.`))
  })
  request.once('error', reject)
  request.once('close', () => reject(new Error('the connection was closed before the body had come')))
  return promise
}
