import {
  type EventData,
  type EventType,
  encodeEvent,
  eventIds,
  makeEvent,
  type NewEvent,
  type SessionEvent,
} from '#contracts/events.ts'
import type { Run } from '#contracts/run.ts'
import type { ClientEvidence, Evidence, RunEvidence, SessionEvidence } from './evidence.ts'

/** What is found after a run that kept every promise, for tests that doctor it. */

const STARTED = new Date('2026-01-01T00:00:00Z')
const SECONDS = (n: number) => new Date(STARTED.getTime() + n * 1000)

export const RUN: Run = {
  run_id: 'run-1',
  tenant_id: 'default',
  session_id: 's0',
  workspace_id: 's0',
  framework: 'static',
  prompt: 'hello',
  options: {},
  v: 1,
  state: 'finished',
  attempt: 1,
  lock: false,
  created_at: STARTED,
  queue_deadline_at: SECONDS(3_600),
  turn_at: STARTED,
  started_at: STARTED,
  deadline_at: SECONDS(60),
  finished_at: SECONDS(5),
  container_gone: true,
  restarts: 0,
  exit: { code: 0, reason: 'exited' },
  result: { session_id: 's0', run_id: 'run-1', status: 'success', cause: 'completed', elapsed_seconds: 5 },
}

/** An event of the run at this place. */
export const eventAt = <T extends EventType>(seq: number, type: T, data: EventData[T], id?: string): SessionEvent =>
  ({
    ...(makeEvent(RUN, id ?? eventIds.runner(RUN.run_id, seq), type, data) as NewEvent),
    timestamp: SECONDS(1 + seq / 10),
    seq,
  }) as SessionEvent

const AGENT = {
  agent_name: 'agent',
  framework: 'static',
  model: 'm',
  tier: 'primary',
  prompt: 'hello',
  prompt_chars: 5,
  tools: [],
  limits: { max_steps: 1, deadline: '' },
  runner_version: '0',
} as const

const MESSAGE = { message_id: 'm', role: 'assistant', tool_calls: [], finish_reason: 'stop', model: 'm' } as const

export const FINISH: EventData['finish'] = { status: 'success', cause: 'completed', synthetic: false }

export const LOG: readonly SessionEvent[] = [
  eventAt(1, 'user_message', { message_id: 'u', content: 'hello', source: 'client' }),
  eventAt(2, 'run_state', { state: 'queued' }),
  eventAt(3, 'agent_start', AGENT),
  eventAt(4, 'message_delta', { message_id: 'm', index: 0, kind: 'text', delta: 'one ' }),
  eventAt(5, 'message_delta', { message_id: 'm', index: 1, kind: 'text', delta: 'two' }),
  eventAt(6, 'message_complete', { ...MESSAGE, content: 'one two', deltas: 2 }),
  eventAt(7, 'agent_end', { status: 'completed', reason: 'completed', steps: 1, tool_calls: 0 }),
  eventAt(8, 'finish', FINISH),
]

export const clientOf = (log: readonly SessionEvent[]): ClientEvidence => ({
  name: 'patient client 0',
  frames: log.map((event) => ({ id: event.seq, event: event.event_type, data: encodeEvent(event) })),
  told: true,
})

export type Doctored = {
  readonly log?: readonly SessionEvent[]
  readonly run?: Partial<Run>
  readonly client?: Partial<ClientEvidence>
  readonly evidence?: Partial<RunEvidence>
  readonly all?: Partial<Evidence>
}

/** One session of one run with one client, sound but for what is doctored. */
export const evidenceOf = ({ log = LOG, run, client, evidence, all }: Doctored = {}): Evidence => {
  const one: RunEvidence = {
    run: { ...RUN, ...run },
    worked: 1,
    clients: [{ ...clientOf(log), ...client }],
    result: RUN.result,
    output: 'agent started: session s0',
    excused: { exit: false, output: false },
    ...evidence,
  }
  const session: SessionEvidence = { session_id: 's0', log, runs: [one] }
  return {
    accepted: [{ session_id: 's0', run_id: 'run-1' }],
    sessions: [session],
    graceMs: 10_000,
    leftovers: [],
    broken: [],
    refused: [],
    ...all,
  }
}
