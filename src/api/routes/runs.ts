import type { Store } from '#store/store.ts'
import type { ApiApp, RouteDeps } from '../deps.ts'
import { findRun, findSession, TENANT } from '../find.ts'
import type { Line } from '../line.ts'
import { askFor, badCursor, cutPage } from '../page.ts'
import {
  ERROR_ANSWERS,
  ResultAnswer,
  RunAnswer,
  RunParams,
  RunPending,
  RunsPage,
  RunsQuery,
  SessionParams,
} from '../schemas.ts'
import { runView } from '../views.ts'

const listRoute = (app: ApiApp, store: Store): void => {
  app.get(
    '/api/agent/sessions/:session_id/runs',
    {
      schema: {
        summary: 'The runs of a session, newest first',
        tags: ['runs'],
        params: SessionParams,
        querystring: RunsQuery,
        response: { 200: RunsPage, ...ERROR_ANSWERS },
      },
    },
    async (request) => {
      const { limit, cursor } = request.query
      const { session_id } = await findSession(store, request.params.session_id)
      if (cursor !== undefined && (await store.runs.get(cursor))?.session_id !== session_id) throw badCursor(cursor)
      const found = await store.runs.listRuns(TENANT, session_id, askFor(limit, cursor))
      const { items, next } = cutPage(found, limit, (run) => run.run_id)
      return { runs: items.map((run) => runView(run)), next }
    },
  )
}

const runRoute = (app: ApiApp, store: Store, line: Line): void => {
  app.get(
    '/api/agent/sessions/:session_id/runs/:run_id',
    {
      schema: {
        summary: 'One run',
        tags: ['runs'],
        params: RunParams,
        response: { 200: RunAnswer, ...ERROR_ANSWERS },
      },
    },
    async (request) => {
      const run = await findRun(store, request.params.session_id, request.params.run_id)
      return runView(run, await line.placeOf(run))
    },
  )
}

const resultRoute = (app: ApiApp, store: Store): void => {
  app.get(
    '/api/agent/sessions/:session_id/runs/:run_id/result',
    {
      schema: {
        summary: 'How a run ended',
        description: '202 with its state until its container is gone and its result is stored.',
        tags: ['runs'],
        params: RunParams,
        response: { 200: ResultAnswer, 202: RunPending, ...ERROR_ANSWERS },
      },
    },
    async (request, reply) => {
      const run = await findRun(store, request.params.session_id, request.params.run_id)
      if (run.result !== undefined) return run.result
      const { session_id, run_id, state } = run
      return reply.code(202).header('retry-after', '1').send({ session_id, run_id, state })
    },
  )
}

export const runRoutes = (app: ApiApp, { store, line }: RouteDeps): void => {
  listRoute(app, store)
  runRoute(app, store, line)
  resultRoute(app, store)
}
