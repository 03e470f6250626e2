import { createEngine, openQueue, openStore } from './adapters.ts'
import { workerConfig } from './config.ts'
import { createLogger } from './logger.ts'
import { openMetrics } from './open-metrics.ts'
import { openWorker } from './open-worker.ts'
import { runRoot } from './root.ts'
import { onShutdown } from './shutdown.ts'

/** The worker process. On the first signal it hands its runs back and leaves their containers to the next worker. */
await runRoot('worker', async (env) => {
  const settings = workerConfig(env)
  const { services } = settings
  const log = createLogger('worker', settings.logLevel)
  for (const notice of settings.notices) log.warn(notice)
  using shutdown = onShutdown((message) => log.info(message))
  await using stack = new AsyncDisposableStack()
  const metrics = stack.use(await openMetrics(settings.metrics, log))
  const opened = stack.use(await openStore({ kind: 'mongodb', url: services.mongodbUrl, db: services.mongodbDb }, log))
  const queue = stack.use(await openQueue({ kind: 'bullmq', url: services.redisUrl, prefix: services.mongodbDb }, log))
  const store = metrics?.store(opened) ?? opened
  metrics?.queue(queue)
  const engine = await createEngine(settings.engine, settings.worker, log)
  const { worker, gateway } = settings
  stack.use(await openWorker({ worker, gateway, engine, store, queue, log, metrics, signal: shutdown.signal }))
  await shutdown.requested
  return 0
})
