import { setTimeout as sleep } from 'node:timers/promises'
import type { Run } from '#contracts/run.ts'
import type { Store } from '#store/store.ts'
import type { ApiApp, RouteDeps } from '../deps.ts'
import { findRun } from '../find.ts'
import { ERROR_ANSWERS, LogsQuery, RunParams } from '../schemas.ts'

const CHUNK_BYTES = 64 * 1024

/** Milliseconds between two looks at a log that is being followed. */
const POLL_MS = 250

const dropped = (bytes: number): string => `\n[mgx: ${bytes} bytes of output were dropped here]\n`

/** True when no more output will come. A run that never had a container has a log that nobody completes. */
const isOver = async ({ logs, runs }: Store, run: Run): Promise<boolean> => {
  const { complete } = await logs.stat(run.run_id)
  return complete || (await runs.get(run.run_id))?.state === 'finished'
}

/** The output of a run from its first byte; with `follow`, until it is complete or `signal` aborts. */
async function* output(
  store: Store,
  run: Run,
  follow: boolean,
  signal: AbortSignal,
): AsyncGenerator<string | Uint8Array> {
  let offset = 0
  let over = !follow
  while (!signal.aborted) {
    const slice = await store.logs.read(run.run_id, offset, CHUNK_BYTES)
    if (slice !== undefined) {
      if (slice.offset > offset) yield dropped(slice.offset - offset)
      yield slice.data
      offset = slice.offset + slice.data.length
    } else if (over) {
      return
    } else {
      over = await isOver(store, run)
      if (!over) await sleep(POLL_MS, undefined, { signal }).catch(() => undefined)
    }
  }
}

export const logRoutes = (app: ApiApp, { store, live }: RouteDeps): void => {
  app.get(
    '/api/agent/sessions/:session_id/runs/:run_id/logs',
    {
      exposeHeadRoute: false,
      schema: {
        summary: "The output of a run's container",
        description: 'Standard output and standard error as they came; the middle of very long output is dropped.',
        tags: ['runs'],
        params: RunParams,
        querystring: LogsQuery,
        response: ERROR_ANSWERS,
      },
    },
    async (request, reply) => {
      const run = await findRun(store, request.params.session_id, request.params.run_id)
      const follow = request.query.follow === '1'
      reply.headers({
        'content-type': 'text/plain; charset=utf-8',
        'cache-control': 'no-cache, no-transform',
        'x-accel-buffering': 'no',
        'x-content-type-options': 'nosniff',
      })
      return live.hold(reply, async ({ raw, signal, write }) => {
        raw.writeHead(200, { ...reply.getHeaders() } as Record<string, string>)
        raw.flushHeaders()
        for await (const chunk of output(store, run, follow, signal)) await write(chunk)
      })
    },
  )
}
