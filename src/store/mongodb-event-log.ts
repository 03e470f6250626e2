import type { EventLog } from './event-log.ts'
import { createClient, untilDone } from './mongodb-client.ts'
import { createMongoEvents } from './mongodb-events.ts'

/**
 * The event log alone, for a runner that talks to MongoDB itself: a user that may `find` and `insert` in `events` is
 * enough. It makes no indexes (the API and the workers do), and opens a change stream only if `changes` is called.
 * Connects with the first operation.
 */
export const openMongoEventLog = async ({
  url,
  db,
}: {
  url: string
  db: string
}): Promise<EventLog & AsyncDisposable> => {
  const client = createClient(url)
  const log = createMongoEvents({
    client,
    events: client.db(db).collection('events'),
    log: { warn: () => {} },
    ready: untilDone(() => client.connect()),
  })
  const close = async () => {
    await log[Symbol.asyncDispose]()
    await client.close()
  }
  return { ...log, [Symbol.asyncDispose]: close }
}
