import type { SessionEvent } from '#contracts/events.ts'
import type { GatewayAppend, GatewayAppendResult } from '#contracts/gateway.ts'
import { GATEWAY_EVENTS_PATH } from '#contracts/gateway-wire.ts'
import { gatewayAddress } from '../gateway-address.ts'
import { type Call, createKeptCalls } from '../kept-calls.ts'
import { type EventSink, SinkRefused, type SinkResult } from './event-sink.ts'

/** What no resend can change: the runner and the worker do not speak the same protocol. */
const REFUSED: ReadonlySet<number> = new Set([400, 404, 405, 413, 415, 422])

const toEvent = (event: SessionEvent): SessionEvent => ({ ...event, timestamp: new Date(event.timestamp) })

/** One question and its JSON answer; rejects with `SinkRefused` where a resend cannot help. */
const createCaller = (url: string, token: string) => {
  const { socketPath, host, port } = gatewayAddress(url)
  const address = socketPath ? { path: socketPath } : { host: host ?? '', port: Number(port) }
  const headers = `host: ${host ?? 'gateway'}\r\nauthorization: Bearer ${token}\r\n`
  const ask = createKeptCalls(address, headers)
  return async (call: Call, signal: AbortSignal): Promise<unknown> => {
    const { status, body } = await ask(call, signal)
    if (status === 200) return JSON.parse(body)
    const message = `the gateway answered ${status}: ${body.slice(0, 500)}`
    throw REFUSED.has(status) ? new SinkRefused(message) : new Error(message)
  }
}

/** Channel `gateway`: a socket and nothing else, because the first event leaves before anything heavy is loaded. */
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
