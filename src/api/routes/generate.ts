import { MgxError } from '#contracts/errors.ts'
import { GenerateAnswer, GenerateBody } from '#contracts/http.ts'
import { newRunId } from '#contracts/ids.ts'
import { type ModelPrices, priceOf } from '#contracts/prices.ts'
import type { NewRun, Run } from '#contracts/run.ts'
import { type Accepted, acceptRun, type Hint } from '#store/accept-run.ts'
import type { Store } from '#store/store.ts'
import { bodyHash } from '../canonical-body.ts'
import type { ApiApp, RouteDeps } from '../deps.ts'
import type { Door } from '../door.ts'
import { TENANT } from '../find.ts'
import { JSON_TYPE, negotiate, SSE_TYPE } from '../negotiate.ts'
import { ERROR_ANSWERS, GenerateHeaders, Nothing } from '../schemas.ts'
import { SSE_ROUTE } from '../sse.ts'
import { eventsUrl, runUrl } from '../urls.ts'
import { watchRun, watchSource, watchWhole } from '../watch.ts'

const toNewRun = (body: GenerateBody, key: string | undefined, queueTimeoutSeconds: number): NewRun => {
  const { session_id, workspace_id, framework, prompt, metadata, options = {} } = body
  const hash = bodyHash(body)
  const now = Date.now()
  return {
    run_id: newRunId(),
    tenant_id: TENANT,
    session_id,
    workspace_id,
    framework,
    prompt,
    options,
    created_at: new Date(now),
    queue_deadline_at: new Date(now + queueTimeoutSeconds * 1000),
    ...(metadata === undefined ? {} : { metadata }),
    ...(key === undefined ? {} : { idempotency_key: key, idempotency_hash: hash }),
  }
}

/** A policy that nobody would keep is refused at the door; the worker refuses it, too. */
const checkEgress = ({ options }: GenerateBody, keepsEgress: boolean): void => {
  if (keepsEgress || options?.egress === undefined || options.egress === 'all') return
  throw new MgxError(
    'INVALID_REQUEST',
    'options.egress cannot be enforced here: in the direct channel agents reach what their network reaches.',
    'body/options/egress: leave it away, or have the operator set AGENT_CHANNEL=gateway, or AGENT_NETWORK to an internal network',
  )
}

/** A budget that nobody could keep. The workers' own model has a price wherever there are prices. */
const checkBudget = (
  { options: { max_cost_usd, model } = {} }: GenerateBody,
  prices: ModelPrices | undefined,
): void => {
  if (max_cost_usd === undefined) return
  if (prices !== undefined && (model === undefined || priceOf(prices, model) !== undefined)) return
  const whose = model === undefined ? 'models' : `the model "${model}"`
  throw new MgxError(
    'INVALID_REQUEST',
    `options.max_cost_usd cannot be kept here: the price of ${whose} is not known.`,
    'body/options/max_cost_usd: leave it away, or have the operator set MODEL_PRICES for API and workers',
  )
}

/** What is refused here and now may have been accepted before: a key that is known gets its run's answer. */
const checkNew = async (store: Store, key: string | undefined, check: () => void): Promise<void> => {
  try {
    check()
  } catch (error) {
    if (key === undefined || (await store.runs.byKey(TENANT, key)) === undefined) throw error
  }
}

const busy = (code: 'SESSION_BUSY' | 'WORKSPACE_BUSY', what: string, holder: Run): MgxError =>
  new MgxError(code, `${what} has an active run.`, `run ${holder.run_id} of session "${holder.session_id}"`, {
    run_id: holder.run_id,
    session_id: holder.session_id,
  })

/** The run that stands for this request. Throws the 409s. */
const acceptedRun = (result: Accepted, body: GenerateBody): Run => {
  switch (result.outcome) {
    case 'accepted':
    case 'replayed':
      return result.run
    case 'session_busy':
      throw busy('SESSION_BUSY', `The session "${body.session_id}"`, result.holder)
    case 'workspace_busy':
      throw busy('WORKSPACE_BUSY', `The workspace "${body.workspace_id}"`, result.holder)
    case 'session_mismatch': {
      const { workspace_id, framework } = result.session
      const cause = `its workspace is "${workspace_id}", its framework "${framework}"`
      throw new MgxError('SESSION_MISMATCH', `The session "${body.session_id}" is another one: ${cause}.`, cause)
    }
    case 'key_reused':
      throw new MgxError(
        'IDEMPOTENCY_KEY_REUSED',
        'This Idempotency-Key was used with another body.',
        `run ${result.run.run_id}`,
      )
  }
}

/** Where the run begins in its session's log, so that following it does not read what came before. */
const beginning = async (store: Store, { begins }: Accepted, run: Run): Promise<number> => {
  if (begins !== undefined) return begins - 1
  const { userMessage } = await store.events.marks(run.session_id, run.run_id)
  return userMessage === undefined ? 0 : userMessage.seq - 1
}

const answer = (run: Run) => ({
  session_id: run.session_id,
  run_id: run.run_id,
  job_id: run.run_id,
  status: 'queued' as const,
  events_url: eventsUrl(run),
})

/** Through the door, and out again unless it was stored. */
const accept = async (store: Store, door: Door, run: NewRun, hint: Hint): Promise<Accepted> => {
  const entered = await door.enter(run)
  let stored = false
  try {
    const result = await acceptRun(store, run, hint)
    stored = result.outcome === 'accepted'
    return result
  } finally {
    entered(stored)
  }
}

export const generateRoutes = (
  app: ApiApp,
  { store, hints, follower, frames, sse, config, door, line }: RouteDeps,
): void => {
  app.post(
    '/api/agent/generate',
    {
      ...SSE_ROUTE,
      schema: {
        summary: 'Hand a prompt to an agent',
        description: 'Answers 202 at once; with `Accept: text/event-stream` it streams the events of the run instead.',
        tags: ['runs'],
        body: GenerateBody,
        headers: GenerateHeaders,
        response: { 202: GenerateAnswer, 204: Nothing, ...ERROR_ANSWERS },
      },
    },
    async (request, reply) => {
      const type = negotiate(request.headers.accept, [JSON_TYPE, SSE_TYPE])
      const { body, headers } = request
      await checkNew(store, headers['idempotency-key'], () => {
        checkEgress(body, config.keepsEgress ?? true)
        checkBudget(body, config.prices)
      })
      const newRun = toNewRun(body, headers['idempotency-key'], config.queueTimeoutSeconds)
      const hint: Hint = async (run, isNew) => {
        if (run.state === 'queued') await hints.give(run, isNew)
      }
      const result = await accept(store, door, newRun, hint)
      const run = acceptedRun(result, body)
      reply.header('location', runUrl(run))
      if (type === JSON_TYPE) return reply.code(202).send(answer(run))

      const seen = Number(headers['last-event-id'] ?? 0)
      const begins = await beginning(store, result, run)
      const watch = seen > begins ? await watchRun(store, run, seen, true) : watchWhole(run, begins)
      if (watch === undefined) return reply.code(204).send(undefined)
      return sse.stream(reply, (onMore, aside) => watchSource({ follower, line, frames }, watch, onMore, aside))
    },
  )
}
