import type { IncomingMessage, ServerResponse } from 'node:http'
import { GATEWAY_EVENTS_PATH, GATEWAY_MODEL_PATH } from '#contracts/gateway-wire.ts'

/** Port: who counts what runners ask of the gateway. Must not throw. */
export type GatewayMeter = {
  /** `status`: of the answer; `none` where it broke off before it had one. */
  answered(kind: 'events' | 'model' | 'other', status: number | 'none'): void
}

const kindOf = (url = ''): 'events' | 'model' | 'other' => {
  if (url.startsWith(GATEWAY_MODEL_PATH)) return 'model'
  return url.startsWith(GATEWAY_EVENTS_PATH) ? 'events' : 'other'
}

/** Tells the meter when the answer is over, whole or not. */
export const measureAnswer = (meter: GatewayMeter, { url }: IncomingMessage, response: ServerResponse): void => {
  response.once('close', () => meter.answered(kindOf(url), response.headersSent ? response.statusCode : 'none'))
}
