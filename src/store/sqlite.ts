import { createSqliteEvents } from './sqlite-events.ts'
import { createSqliteLogs } from './sqlite-logs.ts'
import { createSqliteRuns } from './sqlite-runs.ts'
import { openDatabase } from './sqlite-schema.ts'
import type { OpenStore } from './store.ts'
import { createWakeUps } from './wake-ups.ts'

/**
 * Everything in one file (`:memory:` = nowhere): for the embedded mode, where one process does all the writing. Two
 * processes on one file are safe as well, but wake each other by the poll only.
 * Rejects when the file cannot be opened or is of a newer mgx.
 */
export const openSqliteStore = async ({ file }: { file: string }): Promise<OpenStore> => {
  const db = openDatabase(file)
  return {
    events: createSqliteEvents(db, createWakeUps()),
    runs: createSqliteRuns(db),
    logs: createSqliteLogs(db),
    [Symbol.asyncDispose]: async () => {
      if (db.isOpen) db.close()
    },
  }
}
