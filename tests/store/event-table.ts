import type { SessionEvent } from '#contracts/events.ts'
import type { EventTable } from '#store/append.ts'
import { isEnding } from '#store/append-plan.ts'

export type MemoryTable = EventTable & { readonly rows: readonly SessionEvent[] }

/**
 * A table of events in memory with the two unique indexes. Each step awaits `turn` first, so that a test decides in which
 * order the steps of several writers happen. An insert of many is as many steps: others may come in between.
 */
export const createMemoryTable = (turn: (step: string) => Promise<unknown>): MemoryTable => {
  const rows: SessionEvent[] = []
  const taken = (event: SessionEvent) =>
    rows.some((row) => row._id === event._id || (row.session_id === event.session_id && row.seq === event.seq))
  return {
    rows,
    async insert(events) {
      for (const [n, event] of events.entries()) {
        await turn(`insert ${event._id} at ${event.seq}`)
        if (taken(event)) return n
        rows.push(event)
      }
      return events.length
    },
    reader: () => ({
      async tail(sessionId) {
        await turn('tail')
        const last = rows.filter((row) => row.session_id === sessionId).at(-1)
        return { seq: last?.seq ?? 0, time: last?.timestamp.getTime() ?? 0 }
      },
      async facts(_sessionId, runId) {
        await turn('facts')
        const mine = rows.filter((row) => row.run_id === runId)
        return { finish: mine.find((row) => row.event_type === 'finish'), ending: mine.some(isEnding) }
      },
      async places(ids) {
        await turn('places')
        return new Map(rows.filter((row) => ids.includes(row._id)).map((row) => [row._id, row.seq]))
      },
      async [Symbol.asyncDispose]() {},
    }),
  }
}
