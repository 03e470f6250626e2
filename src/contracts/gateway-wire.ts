/** Where things are on the gateway, apart from `gateway.ts` so that a runner that starts need not load zod for them. */
export const GATEWAY_EVENTS_PATH = '/v1/events'
export const GATEWAY_MODEL_PATH = '/v1/openai'

/**
 * On every answer that the gateway gives by itself because it cannot serve just now (a run it does not serve yet, a store
 * it cannot reach, on its way out): ask again later; nothing speaks against the model API. As a trailer: the gateway left
 * in the middle of the model's answer.
 */
export const GATEWAY_UNAVAILABLE_HEADER = 'x-mgx-gateway-unavailable'

/** On the answer to a CONNECT that opens nothing: why, for people. */
export const EGRESS_HEADER = 'x-mgx-egress'

/** On a CONNECT of the runner itself, in the direct channel: to the model API, which no command reaches by this. */
export const EGRESS_MODEL_HEADER = 'x-mgx-egress-model'

/** Bytes of one request body. */
export const GATEWAY_EVENTS_MAX_BYTES = 4 * 1024 * 1024
export const GATEWAY_MODEL_MAX_BYTES = 20 * 1024 * 1024
