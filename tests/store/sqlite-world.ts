import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { openSqliteStore } from '#store/sqlite.ts'
import type { StoreWorld } from '../conformance/store-world.ts'

/** A file of its own; `raw` is a second connection to it, past the adapter. */
export const openSqliteWorld = async (): Promise<StoreWorld> => {
  const dir = await mkdtemp(join(tmpdir(), 'mgx-sqlite-'))
  const file = join(dir, 'nested', 'mgx.db')
  const first = await openSqliteStore({ file })
  const raw = new DatabaseSync(file, { timeout: 5000 })
  const insert = (table: string, row: Record<string, string | number | null>) => {
    const names = Object.keys(row)
    raw
      .prepare(`INSERT INTO ${table} (${names.join()}) VALUES (${names.map(() => '?').join()})`)
      .run(...Object.values(row))
  }
  return {
    connect: () => openSqliteStore({ file }),
    rawEvent: async ({ agent_name: _, ...event }) =>
      insert('events', { ...event, timestamp: event.timestamp.getTime(), data: JSON.stringify(event.data) }),
    rawRun: async (run) => {
      const { run_id, tenant_id, session_id, workspace_id, state, attempt } = run
      const flags = { lock: Number(run.lock), container_gone: Number(run.container_gone) }
      insert('runs', {
        run_id,
        tenant_id,
        session_id,
        workspace_id,
        state,
        attempt,
        ...flags,
        doc: JSON.stringify(run),
      })
    },
    async [Symbol.asyncDispose]() {
      raw.close()
      await first[Symbol.asyncDispose]()
      await rm(dir, { recursive: true, force: true })
    },
  }
}
