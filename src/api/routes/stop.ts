import { MgxError } from '#contracts/errors.ts'
import { StopAnswer, StopBody } from '#contracts/http.ts'
import { cancelRun } from '#store/cancel-run.ts'
import type { ApiApp, RouteDeps } from '../deps.ts'
import { findCurrentRun, findRun } from '../find.ts'
import { ERROR_ANSWERS, SessionParams } from '../schemas.ts'

export const stopRoutes = (app: ApiApp, { store, hints, owner }: RouteDeps): void => {
  app.post(
    '/api/agent/sessions/:session_id/stop',
    {
      schema: {
        summary: 'Stop a run',
        description:
          'The run that is named, or the active one, or the latest. Answers at once, and the same again when asked again; the run ends with status `cancelled`.',
        tags: ['runs'],
        params: SessionParams,
        body: StopBody.nullish(),
        response: { 202: StopAnswer, ...ERROR_ANSWERS },
      },
    },
    async (request, reply) => {
      const { session_id } = request.params
      const runId = request.body?.run_id
      const run = await (runId === undefined ? findCurrentRun(store, session_id) : findRun(store, session_id, runId))
      const { run_id } = run
      if ((await cancelRun(store, run, owner)) === 'over') {
        throw new MgxError('RUN_OVER', `The run ${run_id} is over.`, `run_id: ${run_id}`, { session_id, run_id })
      }
      await hints.give(run)
      return reply.code(202).send({ session_id, run_id, status: 'stopping' as const })
    },
  )
}
