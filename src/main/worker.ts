import { createEngine, openQueue, openStore } from './adapters.ts'
import { workerConfig } from './config.ts'
import { createLogger } from './logger.ts'
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
  const store = stack.use(await openStore({ kind: 'mongodb', url: services.mongodbUrl, db: services.mongodbDb }, log))
  const queue = stack.use(await openQueue({ kind: 'bullmq', url: services.redisUrl, prefix: services.mongodbDb }, log))
  const engine = await createEngine(settings.engine, settings.worker, log)
  stack.use(await openWorker({ ...settings, engine, store, queue, log, signal: shutdown.signal }))
  await shutdown.requested
  return 0
})
