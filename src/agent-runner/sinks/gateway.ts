import { Agent, request } from 'node:http'
import type { SessionEvent } from '#contracts/events.ts'
import type { GatewayAppend, GatewayAppendResult } from '#contracts/gateway.ts'
import { GATEWAY_EVENTS_PATH } from '#contracts/gateway-wire.ts'
import { gatewayAddress } from '../gateway-address.ts'
import { type EventSink, SinkRefused, type SinkResult } from './event-sink.ts'

/** What no resend can change: the runner and the worker do not speak the same protocol. */
const REFUSED: ReadonlySet<number> = new Set([400, 404, 405, 413, 415, 422])

type Call = { readonly method: 'GET' | 'POST'; readonly path: string; readonly body?: string }

const readBody = async (chunks: AsyncIterable<Buffer>): Promise<string> => {
  const parts: Buffer[] = []
  for await (const chunk of chunks) parts.push(chunk)
  return Buffer.concat(parts).toString()
}

const toEvent = (event: SessionEvent): SessionEvent => ({ ...event, timestamp: new Date(event.timestamp) })

const headersFor = (token: string, body: string | undefined) => ({
  authorization: `Bearer ${token}`,
  ...(body === undefined
    ? {}
    : { 'content-type': 'application/json', 'content-length': String(Buffer.byteLength(body)) }),
})

/** One request and its JSON answer; rejects with `SinkRefused` where a resend cannot help. */
const createCaller = (url: string, token: string) => {
  const agent = new Agent({ keepAlive: true, maxSockets: 2 })
  const address = gatewayAddress(url)
  return ({ method, path, body }: Call, signal: AbortSignal): Promise<unknown> => {
    const { promise, resolve, reject } = Promise.withResolvers<unknown>()
    const headers = headersFor(token, body)
    const sent = request({ ...address, agent, method, path, headers, signal }, (response) => {
      readBody(response).then((text) => {
        const status = response.statusCode ?? 0
        if (status === 200) return resolve(JSON.parse(text))
        const message = `the gateway answered ${status}: ${text.slice(0, 500)}`
        return reject(REFUSED.has(status) ? new SinkRefused(message) : new Error(message))
      }, reject)
    })
    sent.on('error', reject)
    sent.end(body)
    return promise
  }
}

/** Channel `gateway`: node:http and nothing else, because the first event leaves before anything heavy is loaded. */
export const createGatewaySink = (url: string, token: string): EventSink => {
  const call = createCaller(url, token)
  return {
    append: async (events, { unlessEnding }, signal) => {
      const batch: GatewayAppend = {
        events: events.map(({ _id, event_type, timestamp, data }) => ({
          _id,
          event_type,
          timestamp: timestamp.toISOString(),
          data,
        })),
        ...(unlessEnding ? { unless_ending: true } : {}),
      }
      const body = JSON.stringify(batch)
      const result = (await call({ method: 'POST', path: GATEWAY_EVENTS_PATH, body }, signal)) as GatewayAppendResult
      return result satisfies SinkResult
    },
    history: async (after, signal) => {
      const path = `${GATEWAY_EVENTS_PATH}?after=${after}`
      const page = (await call({ method: 'GET', path }, signal)) as { events: SessionEvent[] }
      return page.events.map(toEvent)
    },
  }
}
