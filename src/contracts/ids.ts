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

/** Time and `rand_a` of the last run_id, 60 bits without the version: what makes the next one greater. */
let lastHead = 0n

/** The 18 characters in front of the variant: 48 bits of time, the version, and 12 bits that count. */
const headOf = (bits: bigint): string => {
  const hex = bits.toString(16).padStart(15, '0')
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-7${hex.slice(12)}`
}

/**
 * A `run_id`: ours, a UUID version 7, so runs sort by the time they were accepted. Those of one process never go back, not even
 * within a millisecond or when the clock does: `rand_a` counts on from its random start (RFC 9562, section 6.2, method 1).
 */
export const newRunId = (): string => {
  const fresh = randomUUIDv7()
  const [high = '', middle = '', rand = ''] = fresh.split('-')
  const head = BigInt(`0x${high}${middle}${rand.slice(1)}`)
  lastHead = head > lastHead ? head : lastHead + 1n
  return headOf(lastHead) + fresh.slice(18)
}

/** One tenant until the tenants' own issue: reserved on every stored document. */
export const DEFAULT_TENANT = 'default'

/** The name of the container of a session's active run. */
export const containerName = (sessionId: string): string => `mgx-agent-${sessionId}`
