import type { FastifyInstance } from 'fastify'
import type { ErrorCode } from '#contracts/errors.ts'
import { toMgxError } from './errors.ts'
import type { LiveResponses } from './live.ts'

/** One answer that is not a stream. `route` is its pattern, never a path; absent = there is no such route. */
export type Answer = {
  readonly method: string
  readonly route?: string
  readonly status: number
  readonly seconds: number
}

/** Port: who keeps figures of the API. Must not throw, and costs nothing worth waiting for. */
export type ApiMeter = {
  answered(answer: Answer): void
  /** A request of this route was refused, or failed. */
  refused(route: string | undefined, code: ErrorCode): void
  /** Is told once how to ask for the number of responses that stay open: followed events and output. */
  streams(open: () => number): void
}

/** A stream takes as long as its client likes and is none of the answers: it never comes to `onSend`. */
export const measureAnswers = (app: FastifyInstance, live: LiveResponses, meter: ApiMeter): void => {
  meter.streams(() => live.size)
  app.addHook('onSend', async ({ method, routeOptions: { url: route } }, reply) => {
    const seconds = reply.elapsedTime / 1000
    meter.answered({ method, status: reply.statusCode, seconds, ...(route !== undefined && { route }) })
  })
  app.addHook('onError', async (request, _reply, error) => {
    meter.refused(request.routeOptions.url, toMgxError(error, request).code)
  })
}
