import type { FastifyReply } from 'fastify'
import { encodeEvent, type SessionEvent } from '#contracts/events.ts'
import type { Session } from '#contracts/run.ts'
import type { ApiApp, RouteDeps } from '../deps.ts'
import { currentRun, findRun, findSession } from '../find.ts'
import { JSON_TYPE, negotiate, SSE_TYPE } from '../negotiate.ts'
import { ERROR_ANSWERS, EventsHeaders, EventsPage, EventsQuery, Nothing, SessionParams } from '../schemas.ts'
import { SSE_ROUTE } from '../sse.ts'
import { type Watch, watchRun, watchSession, watchSource } from '../watch.ts'

type Ask = { readonly after: number; readonly runId: string | undefined; readonly wholeSession: boolean }

/** @returns undefined when nothing can come */
const watchOf = async (store: RouteDeps['store'], session: Session, ask: Ask): Promise<Watch | undefined> => {
  const { session_id } = session
  if (ask.runId !== undefined) return watchRun(store, await findRun(store, session_id, ask.runId), ask.after, true)
  if (ask.wholeSession) return watchSession(store, session, ask.after)
  const run = await currentRun(store, session_id)
  return run === undefined ? undefined : watchRun(store, run, ask.after, false)
}

/** The stored form of every event as it stands, so that a page has the same bytes as the stream. */
const pageBody = (events: readonly SessionEvent[], next: number): string =>
  `{"events":[${events.map(encodeEvent).join(',')}],"next_after":${next}}`

const page = async ({ events }: RouteDeps['store'], sessionId: string, ask: Ask, limit: number): Promise<string> => {
  const { after, runId } = ask
  const found = await events.list(sessionId, { after, limit, ...(runId === undefined ? {} : { runId }) })
  const last = found.at(-1)
  return pageBody(found, last?.seq ?? Math.min(after, await events.tail(sessionId)))
}

const sendPage = (reply: FastifyReply, body: string): FastifyReply =>
  reply.type('application/json; charset=utf-8').send(body)

export const eventRoutes = (app: ApiApp, { store, follower, frames, sse, line }: RouteDeps): void => {
  app.get(
    '/api/agent/sessions/:session_id/events',
    {
      ...SSE_ROUTE,
      exposeHeadRoute: false,
      schema: {
        summary: 'Follow a session, or read its log in pages',
        description:
          'An event stream (`id` = `seq`) that ends behind the `finish` of the run that is active, or else the latest, at connect; 204 when that was seen already. With `Accept: application/json` a page.',
        tags: ['events'],
        params: SessionParams,
        querystring: EventsQuery,
        headers: EventsHeaders,
        response: { 200: EventsPage, 204: Nothing, ...ERROR_ANSWERS },
      },
    },
    async (request, reply) => {
      const type = negotiate(request.headers.accept, [SSE_TYPE, JSON_TYPE])
      const { run_id, follow, limit, after } = request.query
      const cursor = request.headers['last-event-id'] || after
      const ask = { after: Number(cursor ?? 0), runId: run_id, wholeSession: follow === 'session' }
      const session = await findSession(store, request.params.session_id)
      if (type === JSON_TYPE) {
        if (run_id !== undefined) await findRun(store, session.session_id, run_id)
        return sendPage(reply, await page(store, session.session_id, ask, limit))
      }
      const watch = await watchOf(store, session, ask)
      if (watch === undefined) return reply.code(204).send(undefined)
      return sse.stream(reply, (onMore, aside) => watchSource({ follower, line, frames }, watch, onMore, aside))
    },
  )
}
