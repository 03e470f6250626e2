import type { EventLog } from './event-log.ts'
import type { RunLogs } from './run-logs.ts'
import type { RunStore } from './run-store.ts'

/**
 * The three ports of one database. Every operation rejects with an `MgxError` of code `UNAVAILABLE` within seconds while
 * the database cannot be reached, whoever the adapter is; it may or may not have happened then.
 */
export type Store = { readonly events: EventLog; readonly runs: RunStore; readonly logs: RunLogs }

/** A store that this process opened, and closes. */
export type OpenStore = Store & AsyncDisposable
