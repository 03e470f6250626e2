import * as z from 'zod'
import { Attestation } from '#contracts/attestation.ts'
import { ERRORS, type ErrorCode } from '#contracts/errors.ts'
import { EventView, RunResultBody, RunView, SessionView } from '#contracts/http.ts'
import { ClientId } from '#contracts/ids.ts'

/** The largest page of events, and the one that a client gets who does not say. */
const EVENTS_PAGE_MAX = 1_000
const EVENTS_PAGE = 200

const LIST_PAGE_MAX = 200
const LIST_PAGE = 50

export const ErrorView = z
  .object({
    code: z.enum(Object.keys(ERRORS) as [ErrorCode, ...ErrorCode[]]),
    message: z.string(),
    cause: z.string(),
    remediation: z.string(),
    run_id: z.string().optional(),
    session_id: z.string().optional(),
  })
  .meta({ description: 'The one shape of an error; docs/errors.md lists the codes.' })

export const ERROR_ANSWERS = { '4xx': ErrorView, '5xx': ErrorView }

export const SessionParams = z.object({ session_id: ClientId })
export const RunParams = z.object({
  session_id: ClientId,
  run_id: z.string().meta({ description: 'As generate gave it.' }),
})

const SEQ_RULE = 'a cursor is the `seq` of an event: a whole number from 0 (the beginning)'

/** A `seq` as clients send it: 15 digits are exact in a double. */
const Seq = z.string().regex(/^\d{1,15}$/, { error: SEQ_RULE })

export const EventsQuery = z.strictObject({
  after: Seq.optional().meta({ description: 'Events behind this `seq`. The header Last-Event-ID wins over it.' }),
  run_id: z.string().optional().meta({ description: 'Only the events of this run.' }),
  follow: z.literal('session').optional().meta({ description: 'Stay open over the ends of runs.' }),
  limit: z.coerce
    .number()
    .int()
    .min(1)
    .max(EVENTS_PAGE_MAX)
    .default(EVENTS_PAGE)
    .meta({ description: 'JSON pages only.' }),
})

/** Loose: the other headers of a request are none of ours. */
export const EventsHeaders = z.looseObject({
  'last-event-id': z
    .union([Seq, z.literal('')])
    .optional()
    .meta({ description: 'The last `id` that was seen.' }),
})

export const GenerateHeaders = z.looseObject({
  'idempotency-key': z
    .string()
    .regex(/^[\x20-\x7e]{1,200}$/, { error: 'an Idempotency-Key is 1 to 200 printable ASCII characters' })
    .optional()
    .meta({ description: 'The same key with the same body gets the first answer again, for 24 hours.' }),
  'last-event-id': EventsHeaders.shape['last-event-id'],
})

const ListLimit = z.coerce.number().int().min(1).max(LIST_PAGE_MAX).default(LIST_PAGE)
const Cursor = z.string().min(1).max(100).optional().meta({ description: '`next` of the page before.' })

export const SessionsQuery = z.strictObject({ limit: ListLimit, cursor: ClientId.optional() })
export const RunsQuery = z.strictObject({ limit: ListLimit, cursor: Cursor })
export const LogsQuery = z.strictObject({
  follow: z.enum(['0', '1']).optional().meta({ description: '1 = go on until the output is complete.' }),
})

const Next = z.string().nullable().meta({ description: '`cursor` of the next page; null on the last one.' })

export const SessionsPage = z.object({ sessions: z.array(SessionView), next: Next })
export const RunsPage = z.object({ runs: z.array(RunView), next: Next })
export const EventsPage = z.object({
  events: z.array(EventView),
  next_after: z.int().meta({ description: '`after` of the next page.' }),
})
export const RunPending = z.object({
  session_id: z.string(),
  run_id: z.string(),
  state: RunView.shape.state,
})
export const RunAnswer = RunView
export const SessionAnswer = SessionView
export const ResultAnswer = RunResultBody
export const AttestationAnswer = Attestation
export const AttestationQuery = z.strictObject({
  run_id: z.string().optional().meta({ description: 'That run; else the active one, or the latest.' }),
})
export const Nothing = z.undefined().meta({ description: 'Nothing can come any more: an EventSource stops here.' })
