import { randomUUID } from 'node:crypto'
import { pino } from 'pino'
import { DEFAULT_TENANT, newRunId } from '#contracts/ids.ts'
import type { NewRun, Run } from '#contracts/run.ts'
import { acceptRun } from '#store/accept-run.ts'
import { openMongoStore } from '#store/mongodb.ts'
import type { OpenStore, Store } from '#store/store.ts'
import type { Bench } from './stack.ts'

export const benchLog = pino({ level: 'warn' }, pino.destination(2))

export const openBenchStore = (bench: Bench, db: string): Promise<OpenStore> =>
  openMongoStore({ url: bench.mongo.url, db, log: benchLog })

/** A run as the API makes one of a request. */
export const newBenchRun = (session: string): NewRun => {
  const now = new Date()
  return {
    run_id: newRunId(),
    tenant_id: DEFAULT_TENANT,
    session_id: session,
    workspace_id: session,
    framework: 'static',
    prompt: 'bench',
    options: {},
    created_at: now,
    queue_deadline_at: new Date(now.getTime() + 3_600_000),
  }
}

/** A run that is accepted and that nobody takes up: the benchmark's writer stands for its runner. */
export const acceptedRun = async (store: Pick<Store, 'runs' | 'events'>, prefix: string): Promise<Run> => {
  const result = await acceptRun(store, newBenchRun(`${prefix}-${randomUUID().slice(0, 8)}`))
  if (result.outcome !== 'accepted') throw new Error(`a new session was answered ${result.outcome}`)
  return result.run
}
