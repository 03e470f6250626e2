import { devConfig } from './config.ts'
import { enginePlain, modelPlain } from './demo-words.ts'
import { openEmbedded } from './embedded.ts'
import { createLogger } from './logger.ts'
import { prettyDestination } from './pretty-log.ts'
import { runRoot } from './root.ts'
import { screenOf } from './screen.ts'
import { onShutdown } from './shutdown.ts'

/** The embedded server for developers: `npm run dev`. Runs that are under way survive its restarts. */
await runRoot('dev', async (env) => {
  const settings = devConfig(env)
  const screen = screenOf(process.stdout)
  const pretty = process.stdout.isTTY ? prettyDestination(screen, (text) => process.stdout.write(text)) : undefined
  const log = createLogger('dev', settings.logLevel, pretty)
  for (const notice of settings.notices) log.warn(notice)
  using shutdown = onShutdown((message) => log.info(message))
  await using server = await openEmbedded(settings, log, shutdown.signal)
  log.info(enginePlain(server))
  log.info(modelPlain(server))
  log.info({ workspaces: server.workspacesRoot }, `the API listens: ${server.url} (reference at ${server.url}/docs)`)
  await shutdown.requested
  return 0
})
