import { setFlagsFromString } from 'node:v8'
import { openQueue, openStore } from './adapters.ts'
import { apiConfig } from './config.ts'
import { createLogger } from './logger.ts'
import { openMetrics } from './open-metrics.ts'
import { runRoot } from './root.ts'
import { serveApi } from './serve-api.ts'
import { onShutdown } from './shutdown.ts'
import { untilThere } from './until-there.ts'

// Thousands of clients that only wait: what connecting left behind is collected soon, and not kept as room to grow. With
// the young generation of 4 MiB of the start command, a third of the memory per client (docs/benchmarks.md).
setFlagsFromString('--heap-growing-percent=20')

/** The API process. It listens before its services are there: /readyz says which is missing. */
await runRoot('api', async (env) => {
  const { listen, api, services, logLevel, metrics: at } = apiConfig(env)
  const log = createLogger('api', logLevel)
  using shutdown = onShutdown((message) => log.info(message))
  await using stack = new AsyncDisposableStack()
  const metrics = stack.use(await openMetrics(at, log))
  const opened = stack.use(await openStore({ kind: 'mongodb', url: services.mongodbUrl, db: services.mongodbDb }, log))
  const queue = stack.use(await openQueue({ kind: 'bullmq', url: services.redisUrl, prefix: services.mongodbDb }, log))
  const store = metrics?.store(opened) ?? opened
  metrics?.queue(queue)
  const { url } = stack.use(await serveApi({ store, queue, api, listen, log, meter: metrics?.api() }))
  log.info({ url }, 'the API listens')
  const { signal } = shutdown
  void untilThere('MongoDB', () => store.runs.ping(), { log, signal }).catch(() => {})
  void untilThere('Redis', () => queue.ping(), { log, signal }).catch(() => {})
  await shutdown.requested
  return 0
})
