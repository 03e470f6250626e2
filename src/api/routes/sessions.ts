import type { ApiApp, RouteDeps } from '../deps.ts'
import { activeRuns, findSession, TENANT } from '../find.ts'
import { askFor, badCursor, cutPage } from '../page.ts'
import { ERROR_ANSWERS, SessionAnswer, SessionParams, SessionsPage, SessionsQuery } from '../schemas.ts'
import { sessionView } from '../views.ts'

export const sessionRoutes = (app: ApiApp, { store, line }: RouteDeps): void => {
  app.get(
    '/api/agent/sessions',
    {
      schema: {
        summary: 'The sessions, newest first',
        tags: ['sessions'],
        querystring: SessionsQuery,
        response: { 200: SessionsPage, ...ERROR_ANSWERS },
      },
    },
    async (request) => {
      const { limit, cursor } = request.query
      if (cursor !== undefined && (await store.runs.getSession(TENANT, cursor)) === undefined) throw badCursor(cursor)
      const found = await store.runs.listSessions(TENANT, askFor(limit, cursor))
      const { items, next } = cutPage(found, limit, (session) => session.session_id)
      const active = await activeRuns(
        store,
        items.map((session) => session.session_id),
      )
      return { sessions: items.map((session) => sessionView(session, active.get(session.session_id))), next }
    },
  )

  app.get(
    '/api/agent/sessions/:session_id',
    {
      schema: {
        summary: 'One session',
        tags: ['sessions'],
        params: SessionParams,
        response: { 200: SessionAnswer, ...ERROR_ANSWERS },
      },
    },
    async (request) => {
      const session = await findSession(store, request.params.session_id)
      const active = (await activeRuns(store, [session.session_id])).get(session.session_id)
      return sessionView(session, active, active && (await line.placeOf(active)))
    },
  )
}
