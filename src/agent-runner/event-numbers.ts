import { eventIds, makeEvent, type NewEvent, type RunRef } from '#contracts/events.ts'
import type { Draft } from './outbox.ts'

/**
 * Gives drafts their ids and places when they leave the outbox: joined and dropped ones leave no gap, and what has left
 * keeps both over every resend.
 */
export const createEventNumbers = (run: RunRef): ((draft: Draft) => NewEvent) => {
  const pieces = new Map<string, number>()
  let count = 0

  const place = (draft: Draft): Draft => {
    if (draft.type !== 'message_delta' && draft.type !== 'message_complete') return draft
    const id = draft.data.message_id
    const seen = pieces.get(id) ?? 0
    if (draft.type === 'message_complete') return { ...draft, data: { ...draft.data, deltas: seen } }
    pieces.set(id, seen + 1)
    return { ...draft, data: { ...draft.data, index: seen } }
  }

  return (draft) => {
    const { type, data, at, id } = place(draft)
    if (id === undefined) count += 1
    return { ...makeEvent(run, id ?? eventIds.runner(run.run_id, count), type, data), timestamp: at } as NewEvent
  }
}
