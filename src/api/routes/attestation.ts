import { MgxError } from '#contracts/errors.ts'
import type { ApiApp, RouteDeps } from '../deps.ts'
import { findCurrentRun, findRun } from '../find.ts'
import { AttestationAnswer, AttestationQuery, ERROR_ANSWERS, RunPending, SessionParams } from '../schemas.ts'

export const attestationRoutes = (app: ApiApp, { store }: RouteDeps): void => {
  app.get(
    '/api/agent/sessions/:session_id/attestation',
    {
      schema: {
        summary: "What really holds a run's container",
        description:
          'What was asked for the container against what kernel and engine enforce, read from them shortly after its ' +
          'start. 202 with the state of the run until it has been read.',
        tags: ['runs'],
        params: SessionParams,
        querystring: AttestationQuery,
        response: { 200: AttestationAnswer, 202: RunPending, ...ERROR_ANSWERS },
      },
    },
    async (request, reply) => {
      const { session_id } = request.params
      const wanted = request.query.run_id
      const run = await (wanted === undefined ? findCurrentRun(store, session_id) : findRun(store, session_id, wanted))
      const { run_id, state, attestation } = run
      if (attestation !== undefined) return attestation
      if (state !== 'finished') return reply.code(202).header('retry-after', '1').send({ session_id, run_id, state })
      const message = `Nobody has looked at the container of the run "${run_id}".`
      throw new MgxError('ATTESTATION_NOT_FOUND', message, `run_id: ${run_id}`, { session_id, run_id })
    },
  )
}
