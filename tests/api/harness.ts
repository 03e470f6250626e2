import { join } from 'node:path'
import type { TestContext } from 'node:test'
import type { FastifyInstance } from 'fastify'
import pino from 'pino'
import { buildApp } from '#api/app.ts'
import type { ApiConfig } from '#api/deps.ts'
import { type EventData, type EventType, eventIds, makeEvent, type NewEvent } from '#contracts/events.ts'
import type { Run } from '#contracts/run.ts'
import { createInProcessQueue } from '#queue/in-process.ts'
import type { JobQueue } from '#queue/job-queue.ts'
import { createFollower, type Follower } from '#store/follow.ts'
import { openSqliteStore } from '#store/sqlite.ts'
import type { Store } from '#store/store.ts'
import { tempDir } from '../helpers.ts'
import { listen } from './streams.ts'

export type LogLine = { readonly level: number; readonly msg: string } & Readonly<Record<string, unknown>>

export type Api = {
  readonly app: FastifyInstance
  readonly store: Store
  readonly queue: JobQueue
  readonly follower: Follower
  /** What the API logged, newest last. */
  readonly lines: LogLine[]
  /** Listens on the first call; the address without a slash at the end. */
  url(): Promise<string>
}

export type ApiOptions = Partial<ApiConfig> & {
  /** Puts something between the API and its real store, to make it fail or wait. */
  readonly wrapStore?: (store: Store) => Store
  readonly wrapQueue?: (queue: JobQueue) => JobQueue
  /** How often the follower looks though nothing woke it. */
  readonly pollMs?: number
}

/** Longer than any test: what arrives was woken, not polled. */
const POLL_MS = 600_000

const DEFAULTS: ApiConfig = {
  corsOrigins: [],
  heartbeatMs: 60_000,
  queueTimeoutSeconds: 3_600,
  maxQueuedRuns: 10_000,
  maxQueuedRunsPerTenant: 10_000,
  docs: false,
  version: '0.0.0-test',
}

/** The API on a real SQLite store and the real in-process queue; everything is closed after the test. */
export const startApi = async (t: TestContext, options: ApiOptions = {}): Promise<Api> => {
  const { wrapStore = (store) => store, wrapQueue = (queue) => queue, pollMs = POLL_MS, ...config } = options
  const opened = await openSqliteStore({ file: join(await tempDir(t), 'mgx.sqlite') })
  const store = wrapStore(opened)
  const jobs = createInProcessQueue()
  const queue = wrapQueue(jobs)
  const follower = createFollower(store.events, { pollMs })
  const lines: LogLine[] = []
  const log = pino({ level: 'debug' }, { write: (line: string) => lines.push(JSON.parse(line) as LogLine) })
  const app = await buildApp({ store, queue, follower, log, config: { ...DEFAULTS, ...config } })
  let address: Promise<string> | undefined
  t.after(async () => {
    await app.close()
    await follower[Symbol.asyncDispose]()
    await jobs[Symbol.asyncDispose]()
    await opened[Symbol.asyncDispose]()
  })
  return {
    app,
    store,
    queue,
    follower,
    lines,
    url: () => {
      address ??= listen({ after: () => undefined }, app)
      return address
    },
  }
}

export const body = (patch: Record<string, unknown> = {}) => ({
  session_id: 'demo-1',
  workspace_id: 'ws-1',
  framework: 'static',
  prompt: 'Build a page',
  ...patch,
})

/** A POST of JSON without a network. */
export const post = (api: Api, url: string, payload: unknown, headers: Record<string, string> = {}) =>
  api.app.inject({
    method: 'POST',
    url,
    headers: { 'content-type': 'application/json', ...headers },
    payload: typeof payload === 'string' ? payload : JSON.stringify(payload),
  })

export const generate = (api: Api, patch: Record<string, unknown> = {}, headers: Record<string, string> = {}) =>
  post(api, '/api/agent/generate', body(patch), headers)

/** Accepts a run and gives its document. */
export const startRun = async (api: Api, patch: Record<string, unknown> = {}): Promise<Run> => {
  const answer = await generate(api, patch)
  if (answer.statusCode !== 202) throw new Error(`generate: ${answer.statusCode} ${answer.body}`)
  const run = await api.store.runs.get(answer.json().run_id)
  if (run === undefined) throw new Error('the accepted run is not stored')
  return run
}

/** Writes an event of this run, as a runner would. */
export const say = async <T extends EventType>(
  api: Api,
  run: Run,
  n: number,
  type: T,
  data: EventData[T],
): Promise<void> => {
  await api.store.events.append(run.session_id, [
    makeEvent(run, eventIds.runner(run.run_id, n), type, data) as NewEvent,
  ])
}

export const log = (api: Api, run: Run, n: number, message = `line ${n}`): Promise<void> =>
  say(api, run, n, 'log', { level: 'info', message })

/** A run in progress whose log has 302 events. */
export const longLog = async (api: Api): Promise<Run> => {
  const run = await startRun(api)
  for (let n = 1; n <= 300; n++) await log(api, run, n)
  return run
}

/** Writes the `finish` of a run; its document stays as it is, as it does while the owner tidies up. */
export const finish = async (api: Api, run: Run): Promise<void> => {
  const data = { status: 'success', cause: 'completed', synthetic: false } as const
  await api.store.events.append(run.session_id, [makeEvent(run, eventIds.finish(run.run_id), 'finish', data)])
}

/** Takes the run through its states to `finished`, with its result, as a worker does. */
export const settle = async (api: Api, run: Run): Promise<void> => {
  await finish(api, run)
  const { runs } = api.store
  await runs.transition(run.run_id, { attempt: 0, from: ['queued'] }, { state: 'running', attempt: 1 })
  await runs.transition(
    run.run_id,
    { attempt: 1, from: ['running'] },
    {
      state: 'finished',
      lock: false,
      finished_at: new Date(),
      result: {
        session_id: run.session_id,
        run_id: run.run_id,
        status: 'success',
        cause: 'completed',
        elapsed_seconds: 1.5,
        container_exit_code: 0,
      },
    },
  )
}
