import * as z from 'zod'
import { EVENT_TYPES } from './events.ts'

/**
 * HTTP between the runner and the worker in the `gateway` channel, over a unix socket or TCP. Every request carries
 * `authorization: Bearer <token of the run>`.
 *
 *   POST /v1/events            GatewayAppend → GatewayAppendResult
 *   GET  /v1/events?after=N    → { events: SessionEvent[] (timestamps ISO-8601), next_after }: this session's log
 *   ANY  /v1/openai/*          → the model API, with the key put in on the way
 *   CONNECT host:port          → a tunnel for the commands of the agent, where the run's egress policy allows it (token as
 *                                `proxy-authorization`); 403 and `x-mgx-egress` with the reason where not
 */
export const GatewayEvent = z.strictObject({
  _id: z.string().min(1).max(300),
  event_type: z.enum(EVENT_TYPES),
  timestamp: z.iso.datetime(),
  agent_name: z.string().max(100).optional(),
  data: z.record(z.string(), z.unknown()),
})

export const GatewayAppend = z.strictObject({
  events: z.array(GatewayEvent).min(1).max(1000),
  unless_ending: z.boolean().optional(),
})

export type GatewayAppend = z.infer<typeof GatewayAppend>

/** The runner's view of `AppendResult`: see the event-log port. */
export const GatewayAppendResult = z.discriminatedUnion('outcome', [
  z.strictObject({ outcome: z.literal('stored'), seqs: z.array(z.int()), ending: z.boolean() }),
  z.strictObject({ outcome: z.literal('ending') }),
  z.strictObject({ outcome: z.literal('finished') }),
])

export type GatewayAppendResult = z.infer<typeof GatewayAppendResult>
