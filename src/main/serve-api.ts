import type { Logger } from 'pino'
import { buildApp } from '#api/app.ts'
import type { ApiConfig } from '#api/deps.ts'
import type { ApiMeter } from '#api/meter.ts'
import type { JobQueue } from '#queue/job-queue.ts'
import { createFollower } from '#store/follow.ts'
import type { Store } from '#store/store.ts'
import type { Listen } from './config.ts'
import { listenError } from './listen-error.ts'

export type Served = AsyncDisposable & { readonly url: string }

type Parts = {
  readonly store: Store
  readonly queue: JobQueue
  readonly api: ApiConfig
  readonly listen: Listen
  readonly log: Logger
  readonly meter?: ApiMeter | undefined
}

/** The API, listening. Disposing ends its streams, finishes what is being answered, and closes what it opened itself. */
export const serveApi = async ({ store, queue, api, listen, log, meter }: Parts): Promise<Served> => {
  await using stack = new AsyncDisposableStack()
  const follower = stack.use(
    createFollower(store.events, { onError: (err) => log.warn({ err }, 'following the log: trying again') }),
  )
  const app = await buildApp({ store, follower, queue, log, config: api, ...(meter && { meter }) })
  stack.defer(() => app.close())
  try {
    const url = await app.listen({ host: listen.host, port: listen.port })
    const open = stack.move()
    return { url, [Symbol.asyncDispose]: () => open.disposeAsync() }
  } catch (error) {
    throw listenError(error, listen, { host: 'HOST', port: 'PORT' })
  }
}
