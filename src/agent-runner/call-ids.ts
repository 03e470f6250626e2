import { randomUUID } from 'node:crypto'
import type { SessionEvent } from '#contracts/events.ts'

/** What may stand in an id, in a file name and in a request to any provider. */
const USABLE = /^[A-Za-z0-9_-]{1,64}$/

/**
 * Ids of tool calls that are each their own in the whole session: some models count from 0 in every answer, and a call's end
 * is found by its id.
 */
export const createCallIds = (earlier: readonly SessionEvent[]): ((given: string) => string) => {
  const taken = new Set(
    earlier.flatMap((event) =>
      event.event_type === 'message_complete' ? event.data.tool_calls.map((call) => call.id) : [],
    ),
  )
  return (given) => {
    const id = USABLE.test(given) && !taken.has(given) ? given : `call_${randomUUID().replaceAll('-', '')}`
    taken.add(id)
    return id
  }
}
