import { APICallError } from 'ai'
import { GatewayUnavailable } from './gateway-fetch.ts'

/** Why a model step came to nothing. */
export type ModelFailure = {
  /** `gateway_unavailable`: the model API never saw the request, so nothing speaks against it. */
  readonly code:
    | 'rate_limited'
    | 'model_unavailable'
    | 'model_refused'
    | 'stream_broken'
    | 'stalled'
    | 'gateway_unavailable'
  readonly message: string
  /** The same request may succeed later. */
  readonly retryable: boolean
  /** What the model API asked for, milliseconds. */
  readonly retryAfterMs?: number
}

const causes = function* (error: unknown): Generator<unknown> {
  for (let at = error, depth = 0; at !== undefined && at !== null && depth < 8; depth++) {
    yield at
    at = (at as { cause?: unknown }).cause
  }
}

/** Milliseconds that the headers ask to wait: `retry-after-ms`, or `retry-after` in seconds or as a date (RFC 9110). */
export const retryAfterMs = (headers: Readonly<Record<string, string>> | undefined): number | undefined => {
  const ms = Number.parseFloat(headers?.['retry-after-ms'] ?? '')
  if (ms >= 0) return ms
  const text = headers?.['retry-after']
  if (text === undefined) return undefined
  if (/^\d+(\.\d+)?$/.test(text)) return Number(text) * 1000
  const date = Date.parse(text)
  return Number.isNaN(date) ? undefined : Math.max(0, date - Date.now())
}

const fromStatus = (error: APICallError, status: number): ModelFailure => {
  const wait = retryAfterMs(error.responseHeaders)
  const message = `the model API answered ${status}: ${error.message}`
  const later = wait === undefined ? {} : { retryAfterMs: wait }
  if (status === 429) return { code: 'rate_limited', message, retryable: true, ...later }
  if (status >= 500 || status === 408 || status === 409)
    return { code: 'model_unavailable', message, retryable: true, ...later }
  return { code: 'model_refused', message, retryable: false }
}

/** What an error that the model SDK threw, or sent as a part of the stream, means for the step. */
export const modelFailure = (error: unknown): ModelFailure => {
  const chain = [...causes(error)]
  const missing = chain.find((each) => each instanceof GatewayUnavailable)
  if (missing !== undefined) return { code: 'gateway_unavailable', message: missing.message, retryable: true }
  const call = chain.find((each) => APICallError.isInstance(each))
  const status = call?.statusCode
  // A stream that broke is reported with the status of its beginning, which was 200.
  if (call !== undefined && status !== undefined && status >= 400) return fromStatus(call, status)
  const message = error instanceof Error ? error.message : String(error)
  if (call !== undefined && status === undefined) return { code: 'model_unavailable', message, retryable: true }
  return { code: 'stream_broken', message, retryable: true }
}
