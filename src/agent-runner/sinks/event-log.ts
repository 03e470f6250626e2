import type { EventLog } from '#store/event-log.ts'
import type { EventSink } from './event-sink.ts'

const PAGE = 500

/** Channel `direct`: the runner writes to the event log itself. */
export const createEventLogSink = (events: EventLog, sessionId: string): EventSink => ({
  append: async (batch, { unlessEnding }) => {
    const result = await events.append(sessionId, batch, unlessEnding ? { unlessEnding } : {})
    if (result.outcome === 'stored') return { outcome: 'stored', ending: result.ending }
    if (result.outcome === 'finished') return { outcome: 'finished' }
    return { outcome: 'ending' }
  },
  history: (after) => events.list(sessionId, { after, limit: PAGE }),
})
