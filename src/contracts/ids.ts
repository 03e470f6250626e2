import { randomUUIDv7 } from 'node:crypto'
import * as z from 'zod'

/** The rule of every id that a client chooses. Ids become container names (`mgx-agent-<session_id>`) and directory names. */
export const ID_PATTERN = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$/

export const ID_RULE =
  'an id is 1 to 63 characters: a letter or digit first, then letters, digits, "_", "." or "-", and never ".."'

/** True when `text` may name a session or a workspace. */
export const isId = (text: string): boolean => ID_PATTERN.test(text) && !text.includes('..')

/** An id chosen by a client: `session_id` or `workspace_id`. */
export const ClientId = z
  .string()
  .refine(isId, { error: ID_RULE })
  .meta({ description: ID_RULE, example: 'demo-1', pattern: ID_PATTERN.source })

/** A `run_id`: ours, a UUID version 7 (RFC 9562), so runs sort by the time they were accepted. */
export const newRunId = (): string => randomUUIDv7()

/** One tenant until the tenants' own issue: reserved on every stored document. */
export const DEFAULT_TENANT = 'default'

/** The name of the container of a session's active run. */
export const containerName = (sessionId: string): string => `mgx-agent-${sessionId}`
