import * as z from 'zod'
import { ERRORS } from '#contracts/errors.ts'
import type { ApiApp, RouteDeps } from '../deps.ts'
import { ErrorView } from '../schemas.ts'
import { within } from '../within.ts'

/** How long a service may take to answer before it counts as missing, milliseconds. */
const PING_MS = 2_000

const Health = z.object({ status: z.literal('ok'), service: z.literal('mgx-api'), version: z.string() })
const Services = z.object({ store: z.enum(['ok', 'missing']), queue: z.enum(['ok', 'missing']) })
const Ready = z.object({ status: z.literal('ok'), services: Services })
const NotReady = ErrorView.extend({ status: z.literal('unavailable'), services: Services })

export const healthRoutes = (app: ApiApp, { store, queue, config }: RouteDeps): void => {
  for (const url of ['/health', '/healthz']) {
    app.get(
      url,
      {
        logLevel: 'warn',
        schema: { summary: 'The process is alive', tags: ['health'], response: { 200: Health } },
      },
      async () => ({ status: 'ok' as const, service: 'mgx-api' as const, version: config.version }),
    )
  }

  app.get(
    '/readyz',
    {
      logLevel: 'warn',
      schema: {
        summary: 'The services it needs answer',
        description: 'Without the queue runs are still accepted, and begin when it is back.',
        tags: ['health'],
        response: { 200: Ready, 503: NotReady },
      },
    },
    async (request, reply) => {
      const ask = async (service: string, ping: Promise<void>): Promise<'ok' | 'missing'> => {
        try {
          await within(PING_MS, ping)
          return 'ok'
        } catch (error) {
          request.log.warn({ err: error, service }, 'a service does not answer')
          return 'missing'
        }
      }
      const [storeState, queueState] = await Promise.all([ask('store', store.runs.ping()), ask('queue', queue.ping())])
      const services = { store: storeState, queue: queueState }
      const missing = Object.entries(services).flatMap(([service, state]) => (state === 'ok' ? [] : [service]))
      if (missing.length === 0) return { status: 'ok' as const, services }
      return reply.code(503).send({
        status: 'unavailable' as const,
        services,
        code: 'UNAVAILABLE' as const,
        message: `Not ready: the ${missing.join(' and the ')} ${missing.length > 1 ? 'do' : 'does'} not answer.`,
        cause: `missing: ${missing.join(', ')}`,
        remediation: ERRORS.UNAVAILABLE.remediation,
      })
    },
  )
}
