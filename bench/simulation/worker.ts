/** A worker as src/main/worker.ts makes one, on the simulated engine; it tells its parent what it took for each run. */
import { openQueue, openStore } from '../../src/main/adapters.ts'
import { workerConfig } from '../../src/main/config.ts'
import { createLogger } from '../../src/main/logger.ts'
import { openWorker } from '../../src/main/open-worker.ts'
import { runRoot } from '../../src/main/root.ts'
import { onShutdown } from '../../src/main/shutdown.ts'
import { openSimulatedEngine } from './engine.ts'
import { createNotes, type Marks } from './marks.ts'
import { measuredTimes } from './measured.ts'

export type FromWorker = { readonly agents: number } | { readonly ended: Marks }

const tell = (message: FromWorker): void => void process.send?.(message)

await runRoot('simulated worker', async (env) => {
  const settings = workerConfig(env)
  const { services, worker, gateway } = settings
  const log = createLogger('worker', settings.logLevel)
  using shutdown = onShutdown((message) => log.info(message))
  await using stack = new AsyncDisposableStack()
  const notes = createNotes((ended) => tell({ ended }))
  const options = { seed: Number(env.SIM_SEED), failures: Number(env.SIM_FAILURES), times: measuredTimes() }
  const opened = stack.use(await openStore({ kind: 'mongodb', url: services.mongodbUrl, db: services.mongodbDb }, log))
  const queue = stack.use(await openQueue({ kind: 'bullmq', url: services.redisUrl, prefix: services.mongodbDb }, log))
  const engine = stack.use(openSimulatedEngine(`simulated-${process.pid}`, options, notes))
  const store = notes.watch(opened)
  const chosen = { engine, check: () => engine.check() }
  stack.use(await openWorker({ worker, gateway, engine: chosen, store, queue, log, signal: shutdown.signal }))
  tell({ agents: engine.agentsPid })
  await shutdown.requested
  return 0
})
