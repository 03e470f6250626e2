import * as z from 'zod'
import { CAUSE_NAMES } from './causes.ts'
import { parseEgress } from './egress.ts'
import { EVENT_TYPES } from './events.ts'
import { FRAMEWORK_NAMES } from './frameworks.ts'
import { ClientId } from './ids.ts'
import { PRIORITIES } from './run.ts'

/** Bytes of UTF-8 that a prompt may have. */
export const PROMPT_MAX_BYTES = 256 * 1024

const Egress = z
  .union([z.string(), z.array(z.string())], { error: 'an egress policy is a text or a list of texts' })
  .superRefine((value, context) => {
    const parsed = parseEgress(value)
    if ('wrong' in parsed) context.addIssue({ code: 'custom', message: `not an egress policy: ${parsed.wrong}` })
  })

export const GenerateBody = z.strictObject({
  session_id: ClientId,
  workspace_id: ClientId,
  framework: z.enum(FRAMEWORK_NAMES),
  prompt: z
    .string()
    .min(1)
    .refine((text) => Buffer.byteLength(text) <= PROMPT_MAX_BYTES, {
      error: `the prompt is longer than ${PROMPT_MAX_BYTES} bytes of UTF-8`,
    }),
  metadata: z.record(z.string(), z.unknown()).optional(),
  options: z
    .strictObject({
      model: z.string().min(1).max(200).optional(),
      timeout_seconds: z.int().min(1).max(86_400).optional(),
      max_steps: z.int().min(1).max(1_000).optional(),
      max_cost_usd: z.number().positive().optional(),
      egress: Egress.optional(),
      priority: z.enum(PRIORITIES).optional(),
    })
    .optional(),
})
export type GenerateBody = z.infer<typeof GenerateBody>

export const GenerateAnswer = z.object({
  session_id: z.string(),
  run_id: z.string(),
  job_id: z.string(),
  status: z.literal('queued'),
  events_url: z.string(),
})

export const StopBody = z.strictObject({ run_id: z.string().min(1).max(100).optional() })

export const StopAnswer = z.object({ session_id: z.string(), run_id: z.string(), status: z.literal('stopping') })

const RunStatusName = z.enum(['success', 'cancelled', 'timeout', 'failed'])

export const RunResultBody = z.object({
  session_id: z.string(),
  run_id: z.string(),
  status: RunStatusName,
  cause: z.enum(CAUSE_NAMES),
  error: z.string().optional(),
  elapsed_seconds: z.number(),
  container_exit_code: z.number().int().optional(),
})

/** Where a run is in the waiting line: in JSON while it is queued, and as the data of `event: queue` in a stream. */
export const QueuePlace = z.object({
  /** 1 = the next one. */
  position: z.int(),
  ahead: z.int(),
  /** Until it starts, as far as the last runs tell; null = not known. */
  estimate_seconds: z.int().nullable(),
})
export type QueuePlace = z.infer<typeof QueuePlace>

export const RunView = z.object({
  run_id: z.string(),
  session_id: z.string(),
  workspace_id: z.string(),
  framework: z.enum(FRAMEWORK_NAMES),
  state: z.enum(['queued', 'starting', 'running', 'finished']),
  attempt: z.number().int(),
  created_at: z.iso.datetime(),
  started_at: z.iso.datetime().optional(),
  deadline_at: z.iso.datetime().optional(),
  finished_at: z.iso.datetime().optional(),
  metadata: z.record(z.string(), z.unknown()).optional(),
  options: z.record(z.string(), z.unknown()),
  /** While it waits for a worker. */
  queue: QueuePlace.optional(),
  /** Where its commands may connect to, once a worker has taken it up, and whether the container has no other way. */
  egress: z
    .object({ allow: z.union([z.enum(['all', 'none']), z.array(z.string())]), enforced: z.boolean() })
    .optional(),
  result: RunResultBody.optional(),
})

export const SessionView = z.object({
  session_id: z.string(),
  workspace_id: z.string(),
  framework: z.enum(FRAMEWORK_NAMES),
  created_at: z.iso.datetime(),
  /** The run that is being worked on, if there is one. */
  active_run_id: z.string().optional(),
  /** Where that run is in the waiting line, while it waits for a worker; of one session only, not in lists. */
  queue: QueuePlace.optional(),
})

export const EventView = z.object({
  _id: z.string(),
  tenant_id: z.string(),
  session_id: z.string(),
  run_id: z.string(),
  seq: z.number().int(),
  event_type: z.enum(EVENT_TYPES),
  timestamp: z.iso.datetime(),
  workspace_id: z.string(),
  agent_name: z.string().optional(),
  data: z.record(z.string(), z.unknown()),
  v: z.literal(1),
})
