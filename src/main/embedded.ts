import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { Logger } from 'pino'
import { jobOf } from '#contracts/job.ts'
import type { JobQueue } from '#queue/job-queue.ts'
import { EngineError } from '#scheduler/engines/engine.ts'
import type { Store } from '#store/store.ts'
import { type ChosenEngine, createEngine, openQueue, openStore } from './adapters.ts'
import type { DevSettings } from './config.ts'
import { type EngineKind, ownUser, thisMachine } from './config-agents.ts'
import type { ModelApi } from './config-rules.ts'
import { DEMO_MODEL, openDemoModel } from './demo-model.ts'
import { openMetrics } from './open-metrics.ts'
import { openWorker } from './open-worker.ts'
import { takeAlone } from './root-lock.ts'
import { serveApi } from './serve-api.ts'
import { StartError } from './start-error.ts'
import { reasonOf } from './until-there.ts'

/** Everything in one process, running. */
export type Embedded = AsyncDisposable & {
  readonly url: string
  readonly metricsUrl?: string
  readonly engine: EngineKind
  /** Why it is not Docker, where nobody asked for the process engine. */
  readonly noDocker?: string
  readonly model: { readonly name: string; readonly scripted: boolean }
  readonly workspacesRoot: string
}

type Choice = Pick<Embedded, 'engine' | 'noDocker'> & { readonly chosen: ChosenEngine }

/** An engine that was asked for must work; where nothing was said, Docker if it works here, else plain processes, which no quota holds. */
const chooseEngine = async (settings: DevSettings, log: Logger): Promise<Choice> => {
  const checked = async () => {}
  const make = (kind: EngineKind) => createEngine({ ...settings.engine, kind }, settings.worker, log)
  const asked = settings.engine.kind
  const first = await make(asked ?? 'docker')
  try {
    await first.check()
    return { engine: asked ?? 'docker', chosen: { ...first, check: checked } }
  } catch (error) {
    if (asked !== undefined || settings.worker.disk.hard || !(error instanceof EngineError)) throw error
    const second = await make('process')
    await second.check()
    return { engine: 'process', noDocker: reasonOf(error), chosen: { ...second, check: checked } }
  }
}

const chooseModel = async (
  settings: DevSettings,
  stack: AsyncDisposableStack,
): Promise<Embedded['model'] & { readonly api: ModelApi }> => {
  if (settings.model !== undefined) return { name: settings.worker.model, scripted: false, api: settings.model }
  const { baseUrl } = stack.use(await openDemoModel())
  return { name: DEMO_MODEL, scripted: true, api: { baseUrl, apiKey: 'none' } }
}

const makeRoot = async (root: string): Promise<string> => {
  const data = join(root, '.mgx', 'data')
  try {
    await mkdir(data, { recursive: true, mode: 0o755 })
    return data
  } catch (error) {
    throw new StartError(
      `cannot make ${data}: ${reasonOf(error)}`,
      'Let this user write there, or set WORKSPACES_ROOT.',
    )
  }
}

/** The scripted model. */
const FREE = { input: 0, output: 0 }

/** Runs that one reminder at the start is for; beyond that many, `reconcile` finds the rest. */
const REMEMBERED = 1_000

/** The queue of this process begins empty: what an earlier process left is put into it at once, not when `reconcile` comes by. */
const remember = async (store: Store, queue: JobQueue): Promise<void> => {
  const left = await Promise.all([store.runs.unsettled(REMEMBERED), store.runs.queued(REMEMBERED)])
  for (const run of left.flat()) {
    if (run.state !== 'finished') await queue.enqueue(jobOf(run))
  }
}

/**
 * The embedded mode: SQLite beside the workspaces, a queue in memory, the gateway, one worker and the API. Rejects
 * (`StartError`, `EngineError`) when something it was told to use is not there.
 */
export const openEmbedded = async (settings: DevSettings, log: Logger, signal: AbortSignal): Promise<Embedded> => {
  await using stack = new AsyncDisposableStack()
  const { workspacesRoot } = settings.worker
  const data = await makeRoot(workspacesRoot)
  stack.use(takeAlone(join(data, 'lock'), workspacesRoot))
  const metrics = stack.use(await openMetrics(settings.metrics, log))
  const opened = stack.use(await openStore({ kind: 'sqlite', file: join(data, 'mgx.db') }, log))
  const store = metrics?.store(opened) ?? opened
  const queue = stack.use(await openQueue({ kind: 'in-process' }, log))
  metrics?.queue(queue)
  const { api: modelApi, ...model } = await chooseModel(settings, stack)
  const { chosen, ...engine } = await chooseEngine(settings, log)
  const user = engine.engine === 'process' ? ownUser(thisMachine()) : settings.worker.user
  const { memoryBytes, ...rest } = settings.worker
  // Processes have no limits that could be added up.
  const counted = engine.engine === 'docker' && memoryBytes !== undefined && { memoryBytes }
  const { prices } = rest
  const priced = model.scripted && prices ? { prices: { [model.name]: FREE, ...prices } } : {}
  const worker = { ...rest, ...counted, ...priced, model: model.name, user }
  const gateway = { model: modelApi, egress: settings.egress, ...(settings.gatewayTcp && { tcp: settings.gatewayTcp }) }
  await remember(store, queue)
  stack.use(await openWorker({ store, queue, engine: chosen, worker, gateway, log, metrics, signal }))
  const { listen } = settings
  const api = { ...settings.api, ...priced }
  const { url } = stack.use(await serveApi({ store, queue, api, listen, log, meter: metrics?.api() }))
  const open = stack.move()
  return {
    url,
    ...(metrics && { metricsUrl: metrics.url }),
    ...engine,
    model,
    workspacesRoot,
    [Symbol.asyncDispose]: () => open.disposeAsync(),
  }
}
