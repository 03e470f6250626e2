import type { IncomingMessage, ServerResponse } from 'node:http'
import * as z from 'zod'
import { CAUSE_NAMES, CAUSES } from '#contracts/causes.ts'
import { type EventType, encodeEvent, eventIds, makeEvent, type NewEvent } from '#contracts/events.ts'
import { GatewayAppend, type GatewayAppendResult } from '#contracts/gateway.ts'
import { GATEWAY_EVENTS_MAX_BYTES } from '#contracts/gateway-wire.ts'
import type { GatewayRun } from '#contracts/run.ts'
import type { AppendResult, EventLog } from '#store/event-log.ts'
import { readBody, refuse, sendJson } from './gateway-http.ts'

const PAGE = 500

/** Bytes that the data of one event may have, as JSON: a document of MongoDB has at most 16 MiB. */
const DATA_MAX_BYTES = 512 * 1024

/** What only the API, the worker and its gateway say. */
const NOT_THE_RUNNERS: ReadonlySet<EventType> = new Set([
  ...(['user_message', 'run_state', 'cancel_requested', 'egress_refused'] as const),
])

/** The worker takes the run's result from these fields. */
const Finish = z.looseObject({
  cause: z.enum(CAUSE_NAMES),
  status: z.string(),
  error: z.string().optional(),
  synthetic: z.literal(false),
})

type Sent = GatewayAppend['events'][number]

/** Ids that the runner may choose: its own numbers, and those of closings. */
const idProblem = ({ _id, event_type }: Sent, runId: string): string | undefined => {
  if (!_id.startsWith(`${runId}:`)) return 'an event id begins with the id of its run'
  const isFinish = event_type === 'finish'
  if (isFinish !== (_id === eventIds.finish(runId))) return 'finish, and nothing else, has the id <run>:finish'
  const isEnd = event_type === 'agent_end'
  if (isEnd !== (_id === eventIds.agentEnd(runId))) return 'agent_end, and nothing else, has the id <run>:agent_end'
  const rest = _id.slice(runId.length + 1)
  return isFinish || isEnd || /^(r:\d+|close:.+)$/.test(rest) ? undefined : 'a runner has no event of this id'
}

const problemOf = (event: Sent, runId: string): string | undefined => {
  if (NOT_THE_RUNNERS.has(event.event_type)) return `a runner does not write ${event.event_type}`
  if (Buffer.byteLength(JSON.stringify(event.data)) > DATA_MAX_BYTES)
    return `the data of an event has at most ${DATA_MAX_BYTES} bytes`
  if (event.event_type === 'finish') {
    const finish = Finish.safeParse(event.data)
    if (!finish.success || CAUSES[finish.data.cause] !== finish.data.status)
      return 'finish needs a cause of the list, the status of that cause, and synthetic: false'
  }
  return idProblem(event, runId)
}

/** The runner says what happened; of which run and session, the gateway knows. */
const toEvent = (sent: Sent, run: GatewayRun): NewEvent =>
  ({
    ...makeEvent(run, sent._id, sent.event_type, sent.data as never),
    timestamp: new Date(sent.timestamp),
    ...(sent.agent_name === undefined ? {} : { agent_name: sent.agent_name }),
  }) as NewEvent

const parseJson = (text: string): unknown => {
  try {
    return JSON.parse(text)
  } catch {
    throw refuse('INVALID_JSON', 'The body is not JSON.')
  }
}

const parse = (body: Buffer, run: GatewayRun): GatewayAppend => {
  const parsed = GatewayAppend.safeParse(parseJson(body.toString()))
  if (!parsed.success) {
    const [issue] = parsed.error.issues
    throw refuse('INVALID_REQUEST', `${issue?.path.join('.') ?? ''}: ${issue?.message ?? 'not a batch of events'}`)
  }
  for (const [i, event] of parsed.data.events.entries()) {
    const problem = problemOf(event, run.run_id)
    if (problem !== undefined) throw refuse('INVALID_REQUEST', `events.${i}: ${problem}.`)
  }
  return parsed.data
}

const toAnswer = (result: AppendResult): GatewayAppendResult => {
  if (result.outcome === 'stored') return { outcome: 'stored', seqs: [...result.seqs], ending: result.ending }
  return { outcome: result.outcome === 'finished' ? 'finished' : 'ending' }
}

/** POST: the runner's events into the log of its session. Throws `MgxError`; rejects as the log does. */
export const appendEvents = async (
  events: EventLog,
  run: GatewayRun,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> => {
  const batch = parse(await readBody(request, GATEWAY_EVENTS_MAX_BYTES), run)
  const options = batch.unless_ending === true ? { unlessEnding: true } : {}
  const sent = batch.events.map((event) => toEvent(event, run))
  sendJson(response, 200, toAnswer(await events.append(run.session_id, sent, options)))
}

/** GET: one page of the log of the runner's session, of all its runs. */
export const listEvents = async (
  events: EventLog,
  run: GatewayRun,
  url: URL,
  response: ServerResponse,
): Promise<void> => {
  const after = url.searchParams.get('after') ?? '0'
  if (!/^\d{1,15}$/.test(after)) throw refuse('INVALID_CURSOR', '`after` must be a whole number from 0.')
  const page = await events.list(run.session_id, { after: Number(after), limit: PAGE })
  const text = `{"events":[${page.map(encodeEvent).join(',')}],"next_after":${page.at(-1)?.seq ?? Number(after)}}`
  response.writeHead(200, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) })
  response.end(text)
}
