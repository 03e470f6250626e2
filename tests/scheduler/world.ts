import assert from 'node:assert/strict'
import type { TestContext } from 'node:test'
import type { SessionEvent, SessionEventOf } from '#contracts/events.ts'
import { jobOf } from '#contracts/job.ts'
import type { NewRun, Run } from '#contracts/run.ts'
import { createClaims } from '#scheduler/claims.ts'
import { acceptRun } from '#store/accept-run.ts'
import { openSqliteStore } from '#store/sqlite.ts'
import type { Store } from '#store/store.ts'
import { newRunOf, readLog } from '../conformance/store-world.ts'
import type { ScriptedRunner } from '../fakes/scripted-box.ts'
import { createScriptedEngine, type EngineScript, type ScriptedEngine } from '../fakes/scripted-engine.ts'
import { createScriptedQueue, type ScriptedQueue } from '../fakes/scripted-queue.ts'
import { tempDir, waitFor } from '../helpers.ts'
import { checkOver } from './check-over.ts'
import { createScriptedWorker, type ScriptedWorker, type WorkerOptions } from './scripted-worker.ts'

/** A real store in memory, a scripted queue and engine, and as many workers as a test needs. */
export type World = {
  readonly store: Store
  readonly queue: ScriptedQueue
  readonly engine: ScriptedEngine
  readonly root: string
  worker(options?: WorkerOptions): ScriptedWorker
  /** As the API: accepted, announced, enqueued. */
  generate(of?: Partial<NewRun>): Promise<Run>
  run(run: Run): Promise<Run>
  log(run: Run): Promise<SessionEvent[]>
  /** The owner has been silent for long, as far as anyone can tell. Wakes nobody and kills nobody. */
  forget(run: Run): Promise<void>
  /** Waits for an event of this run. */
  event(run: Run, what: string): Promise<SessionEvent>
  /** Waits until the run is over in every sense, checks every promise, and returns its `finish`. */
  over(run: Run): Promise<SessionEventOf<'finish'>>
}

type Parts = Pick<World, 'store' | 'queue' | 'engine'>

const is = (event: SessionEvent, what: string): boolean =>
  event.event_type === what || (event.event_type === 'run_state' && event.data.state === what)

/** What a test asks of the store, past all workers. */
const createViews = ({ store, queue, engine }: Parts): Omit<World, 'root' | 'worker' | keyof Parts> => {
  const find = async (run: Run): Promise<Run> => {
    const found = await store.runs.get(run.run_id)
    assert(found)
    return found
  }
  const log = (run: Run) => readLog(store.events, run.session_id)
  return {
    run: find,
    log,
    async generate(of = {}) {
      const result = await acceptRun(store, newRunOf(of))
      assert(result.outcome === 'accepted', result.outcome)
      const { run } = result
      await queue.enqueue(jobOf(run))
      return run
    },
    async forget(run) {
      const { attempt, state } = await find(run)
      assert(await store.runs.transition(run.run_id, { attempt, from: [state] }, { seen_at: new Date(0) }))
    },
    event(run, what) {
      const look = async () => (await log(run)).find((event) => event.run_id === run.run_id && is(event, what))
      return waitFor(look, { what: `${what} of the run` })
    },
    async over(run) {
      const look = async () => {
        const now = await find(run)
        return now.state === 'finished' && now.container_gone && engine.box(run.run_id) === undefined && now
      }
      const over = await waitFor(look, { what: 'the end of the run' })
      return checkOver(await log(run), over)
    },
  }
}

export const openWorld = async (
  t: Pick<TestContext, 'after'>,
  runnerOf: (store: Store) => ScriptedRunner,
  script: Omit<EngineScript, 'runner'> = {},
): Promise<World> => {
  const stack = new AsyncDisposableStack()
  t.after(() => stack.disposeAsync())
  const root = await tempDir({ after: (fn) => stack.defer(fn as () => Promise<void>) })
  const store = stack.use(await openSqliteStore({ file: ':memory:' }))
  const queue = stack.use(createScriptedQueue())
  const engine = createScriptedEngine({ claims: createClaims(root), ...script, runner: runnerOf(store) })
  const killAll = ({ boxes }: ScriptedEngine) => {
    for (const box of boxes) box.end(137)
  }
  stack.defer(() => killAll(engine))
  let workers = 0

  const worker = (options: WorkerOptions = {}): ScriptedWorker => {
    workers += 1
    const shared = { store, queue, engine, engineId: script.engineId ?? 'scripted', root, name: `worker-${workers}` }
    const { engine: other } = options
    if (other) stack.defer(() => killAll(other))
    return stack.use(createScriptedWorker(shared, options))
  }
  return { store, queue, engine, root, worker, ...createViews({ store, queue, engine }) }
}
