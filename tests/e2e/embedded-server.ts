import type { TestContext } from 'node:test'
import { devConfig } from '#main/config.ts'
import { openEmbedded } from '#main/embedded.ts'
import { createLogger } from '#main/logger.ts'
import { tempDir } from '../helpers.ts'
import { removeContainers } from './cleanup.ts'
import type { TestServer } from './client.ts'

/** Everything in one process, as `npm run dev` has it, on a directory of its own and any free port. */
export const openServer = async (
  t: Pick<TestContext, 'after'>,
  env: Readonly<Record<string, string>>,
): Promise<TestServer> => {
  const root = env.WORKSPACES_ROOT ?? (await tempDir(t))
  const settings = devConfig({ PORT: '0', LOG_LEVEL: 'silent', WARM_POOL_SIZE: '0', ...env, WORKSPACES_ROOT: root })
  const { installation } = settings.worker
  const log = createLogger('test', settings.logLevel)
  const server = await openEmbedded(settings, log, new AbortController().signal)
  let open = true
  const close = async () => {
    if (open) await server[Symbol.asyncDispose]()
    open = false
  }
  t.after(async () => {
    await close()
    if (env.ENGINE === 'docker') await removeContainers(installation)
  })
  const restart = async (more = {}) => {
    await close()
    return openServer(t, { ...env, ...more, WORKSPACES_ROOT: root })
  }
  return { root, url: server.url, restart }
}
