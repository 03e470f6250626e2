import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import {
  type EventData,
  type EventType,
  makeEvent,
  type NewEvent,
  type RunRef,
  type SessionEvent,
} from '#contracts/events.ts'
import { DEFAULT_TENANT, newRunId } from '#contracts/ids.ts'
import type { NewRun, Run } from '#contracts/run.ts'
import type { EventLog } from '#store/event-log.ts'
import type { OpenStore } from '#store/store.ts'

/** One database, and ways into it. */
export type StoreWorld = AsyncDisposable & {
  /** Another process, as far as the store can tell: nothing in memory is shared with the stores opened before. */
  connect(): Promise<OpenStore>
  /** Past the adapter, as a bug or a stranger would write. Rejects where the database refuses. */
  rawEvent(event: SessionEvent): Promise<void>
  rawRun(run: Run): Promise<void>
}

/** A run of a new session on a new workspace, or of the one given. */
export const newRef = (of: Partial<RunRef> = {}): RunRef => ({
  tenant_id: DEFAULT_TENANT,
  session_id: `s-${randomUUID()}`,
  workspace_id: `w-${randomUUID()}`,
  run_id: newRunId(),
  ...of,
})

export const nextRun = (ref: RunRef): RunRef => ({ ...ref, run_id: newRunId() })

/** The `n`th thing that a writer says: the same name and number is the same event. */
export const delta = (ref: RunRef, n: number, writer = 'r'): NewEvent =>
  makeEvent(ref, `${ref.run_id}:${writer}:${n}`, 'message_delta', {
    message_id: `m-${writer}`,
    index: n,
    kind: 'text',
    delta: `word ${n} `,
  })

export const say = <T extends EventType>(ref: RunRef, type: T, data: EventData[T], id: string = type): NewEvent =>
  makeEvent(ref, `${ref.run_id}:${id}`, type, data) as NewEvent

export const finish = (ref: RunRef, cause: 'completed' | 'cancelled' = 'completed'): NewEvent =>
  say(ref, 'finish', { status: cause === 'completed' ? 'success' : 'cancelled', cause, synthetic: false })

export const stopping = (ref: RunRef): NewEvent =>
  say(ref, 'run_state', { state: 'stopping', cause: 'timeout' }, 'stopping')

export const cancel = (ref: RunRef): NewEvent => say(ref, 'cancel_requested', { source: 'client' })

/** The whole log, and the proof that its places have no gaps. */
export const readLog = async (log: EventLog, sessionId: string): Promise<SessionEvent[]> => {
  const events = await log.list(sessionId, { after: 0, limit: 100_000 })
  assert.deepEqual(
    events.map((event) => event.seq),
    events.map((_, i) => i + 1),
    'seq counts from 1 without gaps',
  )
  return events
}

/** What a client asks for: a new session on a new workspace, unless `of` says otherwise. */
export const newRunOf = (of: Partial<NewRun> = {}): NewRun => {
  const created = of.created_at ?? new Date()
  return {
    ...newRef(),
    framework: 'vite',
    prompt: 'make a page',
    options: { max_steps: 5 },
    created_at: created,
    queue_deadline_at: new Date(created.getTime() + 3_600_000),
    ...of,
  }
}

/** Small numbers in an order that looks random and is the same in every run of the tests. */
export const shuffler = (seed: number) => () => {
  seed = (seed * 1_103_515_245 + 12_345) & 0x7fffffff
  return seed / 0x7fffffff
}
