import type { Db, IndexDescription } from 'mongodb'

/**
 * Every index of the database. What a promise hangs on is a unique one: then it holds whatever a program does wrong.
 * `events` is unique by session and place without the tenant, because a log is addressed by its session: `append` and
 * `list` know no tenant, and two tenants with one session name must clash there rather than mix.
 */
const INDEXES: Readonly<Record<string, readonly IndexDescription[]>> = {
  events: [
    { name: 'place', key: { session_id: 1, seq: 1 }, unique: true },
    // find({ session_id }).sort({ timestamp: 1 }) comes in order of seq also where times are equal.
    { name: 'time', key: { session_id: 1, timestamp: 1, seq: 1 } },
    { name: 'one_finish', key: { run_id: 1 }, unique: true, partialFilterExpression: { event_type: 'finish' } },
    { name: 'type', key: { run_id: 1, event_type: 1 } },
    { name: 'run', key: { run_id: 1, seq: 1 } },
  ],
  runs: [
    {
      name: 'one_active_per_session',
      key: { tenant_id: 1, session_id: 1 },
      unique: true,
      partialFilterExpression: { lock: true },
    },
    {
      name: 'one_active_per_workspace',
      key: { tenant_id: 1, workspace_id: 1 },
      unique: true,
      partialFilterExpression: { lock: true },
    },
    {
      name: 'one_opens_session',
      // Not { tenant_id, session_id }: servers before 5.0 take one index per key.
      key: { session_id: 1, tenant_id: 1 },
      unique: true,
      partialFilterExpression: { opens_session: true },
    },
    {
      name: 'idempotency_key',
      key: { tenant_id: 1, idempotency_key: 1 },
      unique: true,
      partialFilterExpression: { idempotency_key: { $exists: true } },
    },
    { name: 'of_session', key: { tenant_id: 1, session_id: 1, run_id: -1 } },
    { name: 'state', key: { state: 1, run_id: 1 } },
    {
      name: 'waiting',
      key: { state: 1, tenant_id: 1, turn_at: 1, run_id: 1 },
      partialFilterExpression: { state: 'queued' },
    },
    {
      name: 'one_run_per_permit',
      key: { permit: 1 },
      unique: true,
      partialFilterExpression: { permit: { $type: 'number' } },
    },
    {
      name: 'one_run_per_tenant_permit',
      key: { tenant_id: 1, tenant_permit: 1 },
      unique: true,
      partialFilterExpression: { tenant_permit: { $type: 'number' } },
    },
    { name: 'token', key: { token_hash: 1 }, partialFilterExpression: { container_gone: false } },
    { name: 'with_container', key: { run_id: 1 }, partialFilterExpression: { container_gone: false } },
    // With all that `memoryHeld` asks for in it, so that it reads no documents.
    {
      name: 'memory',
      key: { engine_id: 1, container_gone: 1, memory_bytes: 1 },
      partialFilterExpression: { container_gone: false },
    },
    // What may be in a run's way: each branch of that question needs an index of its own, or all runs at work are looked through.
    {
      name: 'with_container_of_session',
      // With container_gone, because servers before 5.0 take one index per key.
      key: { tenant_id: 1, session_id: 1, container_gone: 1 },
      partialFilterExpression: { container_gone: false },
    },
    {
      name: 'with_container_of_workspace',
      key: { tenant_id: 1, workspace_id: 1, container_gone: 1 },
      partialFilterExpression: { container_gone: false },
    },
  ],
  sessions: [{ name: 'age', key: { tenant_id: 1, created_at: -1, session_id: -1 } }],
  run_logs: [{ name: 'offset', key: { run_id: 1, offset: 1 }, unique: true }],
}

/** Makes what is missing; repeatable, by several at once. Rejects when an index of that name is there and different. */
export const ensureIndexes = async (db: Db): Promise<void> => {
  for (const [collection, indexes] of Object.entries(INDEXES)) {
    await db.collection(collection).createIndexes([...indexes])
  }
}
