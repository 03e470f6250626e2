import type { Cause, RunStatus } from './causes.ts'
import type { RunImage } from './run.ts'
import type { WarmMiss } from './warm.ts'

export type Usage = {
  readonly input_tokens: number
  readonly output_tokens: number
  readonly total_tokens: number
  readonly cached_input_tokens?: number
  readonly reasoning_tokens?: number
  readonly cost_usd?: number
  readonly model: string
}

export type EventError = { readonly code: string; readonly message: string; readonly retryable: boolean }

export type ToolKind = 'read' | 'edit' | 'delete' | 'search' | 'execute' | 'think' | 'fetch' | 'other'

/** The payload of every event type: the contract with clients. Times are ISO-8601 UTC, sizes are bytes unless a name says otherwise. */
export type EventData = {
  user_message: { readonly message_id: string; readonly content: string; readonly source: 'client' | 'environment' }
  run_state: {
    readonly state: 'queued' | 'starting' | 'running' | 'stopping'
    /** With `starting` and `running`: how the container came about (`warm`, `cold`; `adopted` from another worker). */
    readonly reason?: string
    /** With `starting` and `cold`: why no container that was started ahead could be used. */
    readonly miss?: WarmMiss
    /** With `stopping`: why the run is being ended. The first `stopping` fixes it. */
    readonly cause?: Cause
    readonly error?: string
    readonly attempt?: number
  }
  cancel_requested: { readonly source: 'client' }
  agent_start: {
    readonly agent_name: string
    readonly framework: string
    readonly model: string
    readonly tier: 'primary' | 'backup' | 'fallback'
    /** At most 8 KiB of it. */
    readonly prompt: string
    readonly prompt_chars: number
    readonly tools: readonly string[]
    readonly limits: { readonly max_steps: number; readonly max_cost_usd?: number; readonly deadline: string }
    readonly resumed_from_seq?: number
    /** The container this runner works in: one container per run. */
    readonly container_id?: string
    readonly runner_version: string
    /** What the container is made of, as the worker chose it; `track`: which of the installation's images that is. */
    readonly image?: RunImage
  }
  message_delta: {
    readonly message_id: string
    /** Counts from 0 within a message, without gaps. */
    readonly index: number
    readonly kind: 'text' | 'reasoning'
    readonly delta: string
  }
  message_complete: {
    readonly message_id: string
    readonly role: 'assistant'
    /** Authoritative: what the deltas amount to. At most 256 KiB. */
    readonly content: string
    readonly reasoning?: string
    readonly tool_calls: readonly { readonly id: string; readonly name: string; readonly arguments: string }[]
    readonly finish_reason: 'stop' | 'tool_calls' | 'length' | 'content_filter' | 'error' | 'aborted'
    /** The step was tried again: this message counts for nothing. */
    readonly discarded?: true
    readonly deltas: number
    readonly model: string
    readonly usage?: Usage
  }
  tool_start: {
    readonly tool_call_id: string
    readonly message_id: string
    readonly tool_name: string
    readonly kind: ToolKind
    /** One line for people. */
    readonly title: string
    readonly input: Readonly<Record<string, unknown>>
    readonly risk: 'low' | 'medium' | 'high' | 'unknown'
    readonly attempt: number
    readonly background?: boolean
  }
  tool_output_delta: {
    readonly tool_call_id: string
    readonly stream: 'stdout' | 'stderr'
    readonly index: number
    readonly delta: string
  }
  tool_end: {
    readonly tool_call_id: string
    readonly tool_name: string
    readonly status: 'ok' | 'error' | 'denied' | 'timeout' | 'aborted'
    /** Head and tail, at most 16 KiB of both. */
    readonly output: string
    readonly output_bytes: number
    readonly output_ref?: { readonly path: string; readonly sha256: string }
    readonly exit_code?: number
    readonly signal?: string
    readonly error?: EventError
    readonly duration_ms: number
    readonly last_in_batch: boolean
  }
  file_changed: {
    readonly path: string
    readonly change: 'added' | 'modified' | 'deleted'
    readonly source: 'edit' | 'bash'
    readonly tool_call_id: string
    readonly bytes: number
  }
  usage: Usage & { readonly purpose: 'agent' | 'summary' | 'judge' | 'embed' }
  error: EventError & { readonly fatal: false }
  log: { readonly level: 'debug' | 'info' | 'warn' | 'error'; readonly message: string }
  /** A command wanted to connect to where the egress policy of the run does not let it; the gateway writes it. */
  egress_refused: {
    readonly host: string
    readonly port: number
    readonly reason:
      | 'not_allowed'
      | 'port_not_allowed'
      | 'private_address'
      | 'metadata_address'
      | 'own_service'
      | 'too_many'
    /** What the command was told. */
    readonly message: string
    /** Which attempt this was: 1, and again at 10, 100, … Of one run at most 50 different targets are named. */
    readonly count: number
  }
  heartbeat: { readonly step: number; readonly state: 'model' | 'tool' | 'idle'; readonly tool_call_id?: string }
  agent_end: {
    readonly status: 'completed' | 'failed' | 'cancelled' | 'max_steps' | 'budget_exceeded'
    readonly reason: string
    readonly steps: number
    readonly tool_calls: number
    readonly usage?: Usage
    readonly summary?: string
    readonly error?: EventError
  }
  finish: {
    readonly status: RunStatus
    readonly cause: Cause
    readonly error?: string
    readonly exit_code?: number
    readonly duration_ms?: number
    readonly usage?: Usage
    /** True when mgx wrote it because the runner could not. */
    readonly synthetic: boolean
  }
}

export type EventType = keyof EventData

export const EVENT_TYPES = [
  'user_message',
  'run_state',
  'cancel_requested',
  'agent_start',
  'message_delta',
  'message_complete',
  'tool_start',
  'tool_output_delta',
  'tool_end',
  'file_changed',
  'usage',
  'error',
  'log',
  'heartbeat',
  'egress_refused',
  'agent_end',
  'finish',
] as const satisfies readonly EventType[]

type EventOf<T extends EventType> = {
  /** Chosen by the writer, derived from what happened: a resend or a second closer writes nothing new. See {@link eventIds}. */
  readonly _id: string
  readonly tenant_id: string
  readonly session_id: string
  readonly run_id: string
  readonly event_type: T
  readonly timestamp: Date
  readonly workspace_id: string
  readonly agent_name?: string
  readonly data: EventData[T]
  readonly v: 1
}

/** An event before it has its place in the session's log. */
export type NewEvent = { [T in EventType]: EventOf<T> }[EventType]

/** One entry of a session's log; `seq` counts from 1 without gaps. */
export type SessionEvent = NewEvent & { readonly seq: number }

export type SessionEventOf<T extends EventType> = EventOf<T> & { readonly seq: number }

/** What identifies the run in each of its events. */
export type RunRef = {
  readonly tenant_id: string
  readonly session_id: string
  readonly run_id: string
  readonly workspace_id: string
}

/** Event ids. The same thing said twice has the same id, whoever says it. */
export const eventIds = {
  userMessage: (runId: string) => `${runId}:user_message`,
  cancelRequested: (runId: string) => `${runId}:cancel_requested`,
  queued: (runId: string) => `${runId}:queued`,
  starting: (runId: string, attempt: number) => `${runId}:starting:${attempt}`,
  startingCold: (runId: string, attempt: number) => `${runId}:starting:${attempt}:cold`,
  runningCold: (runId: string, attempt: number) => `${runId}:running:${attempt}:cold`,
  running: (runId: string, attempt: number) => `${runId}:running:${attempt}`,
  stopping: (runId: string) => `${runId}:stopping`,
  runner: (runId: string, n: number) => `${runId}:r:${n}`,
  closeTool: (runId: string, toolCallId: string) => `${runId}:close:${toolCallId}`,
  closeMessage: (runId: string, messageId: string) => `${runId}:close:${messageId}`,
  egressRefused: (runId: string, reason: string, target: string, count: number) =>
    `${runId}:egress:${reason}:${target}:${count}`,
  agentEnd: (runId: string) => `${runId}:agent_end`,
  finish: (runId: string) => `${runId}:finish`,
} as const

/** Builds an event of a run; `timestamp` is now. */
export const makeEvent = <T extends EventType>(run: RunRef, id: string, type: T, data: EventData[T]): EventOf<T> => ({
  _id: id,
  tenant_id: run.tenant_id,
  session_id: run.session_id,
  run_id: run.run_id,
  event_type: type,
  timestamp: new Date(),
  workspace_id: run.workspace_id,
  data,
  v: 1,
})

/** The one JSON form of a stored event: live, replay and pages send these same bytes. */
export const encodeEvent = (event: SessionEvent): string =>
  JSON.stringify({
    _id: event._id,
    tenant_id: event.tenant_id,
    session_id: event.session_id,
    run_id: event.run_id,
    seq: event.seq,
    event_type: event.event_type,
    timestamp: event.timestamp.toISOString(),
    workspace_id: event.workspace_id,
    ...(event.agent_name === undefined ? {} : { agent_name: event.agent_name }),
    data: event.data,
    v: event.v,
  })
