import { setTimeout as sleep } from 'node:timers/promises'
import { type EventData, type EventType, eventIds, makeEvent, type NewEvent } from '#contracts/events.ts'
import { RUNNER_EXIT, type RunnerJob } from '#contracts/job.ts'
import type { EventSink } from '../../src/agent-runner/sinks/event-sink.ts'
import type { Fate, SimStep } from './fates.ts'

/** How its container ends: an exit code, killed by the kernel, or gone without a word. */
export type AgentEnd = number | 'oom' | 'lost'

export type AgentLife = {
  readonly job: RunnerJob
  readonly fate: Fate
  readonly sink: EventSink
  readonly term: AbortSignal
}

/** Somebody else has ended the run, or is about to. */
class Told extends Error {}

const AGAIN_MS = 200
/** What is only said in going is not worth more: the worker says it too. */
const LAST_TRIES = 3
const MODEL = 'simulated'
const SENTENCE = 'Reading the files, then changing what was asked for; '

type SendOptions = { readonly unlessEnding?: boolean; readonly closing?: boolean }

/** Sends as the runner does: one batch at a time, again and again while the gateway does not answer. */
const createVoice = ({ job, sink, term }: AgentLife) => {
  let n = 0
  const event = <T extends EventType>(type: T, data: EventData[T], id?: string): NewEvent =>
    makeEvent(job, id ?? eventIds.runner(job.run_id, n++), type, data) as NewEvent
  const send = async (events: readonly NewEvent[], options: SendOptions = {}): Promise<void> => {
    for (let tries = 1; ; tries++) {
      if (!options.closing) term.throwIfAborted()
      const unlessEnding = options.unlessEnding ?? false
      const sent = sink.append(events, { unlessEnding }, new AbortController().signal)
      const result = await sent.catch(() => sleep(AGAIN_MS))
      if (result === undefined && tries < (options.closing ? LAST_TRIES : Infinity)) continue
      if (options.closing) return
      if (result?.outcome !== 'stored' || result.ending) throw new Told()
      return
    }
  }
  return { event, send, begun: () => n > 0 }
}

const startData = ({ job, fate }: AgentLife): EventData['agent_start'] => ({
  agent_name: 'agent',
  framework: job.framework,
  model: MODEL,
  tier: 'primary',
  prompt: job.prompt,
  prompt_chars: job.prompt.length,
  tools: ['read', 'write', 'edit', 'bash'],
  limits: { max_steps: fate.steps.length, deadline: job.deadline },
  ...(job.container_id !== undefined && { container_id: job.container_id }),
  runner_version: MODEL,
})

const toolStart = (n: number): EventData['tool_start'] => ({
  tool_call_id: `t${n}`,
  message_id: `m${n}`,
  tool_name: 'bash',
  kind: 'execute',
  title: 'ls -la',
  input: { command: 'ls -la' },
  risk: 'low',
  attempt: 1,
})

const toolEnd = (n: number, status: 'ok' | 'aborted', ms: number): EventData['tool_end'] => ({
  tool_call_id: `t${n}`,
  tool_name: 'bash',
  status,
  output: 'total 0\n',
  output_bytes: 8,
  duration_ms: ms,
  last_in_batch: true,
})

const messageDone = (n: number): EventData['message_complete'] => ({
  message_id: `m${n}`,
  role: 'assistant',
  content: SENTENCE.repeat(3),
  tool_calls: [{ id: `t${n}`, name: 'bash', arguments: '{"command":"ls -la"}' }],
  finish_reason: 'tool_calls',
  deltas: 3,
  model: MODEL,
})

/** Waits as a model or a tool would; TERM cuts it short. */
const busy = (ms: number, { term }: AgentLife): Promise<void> => sleep(ms, undefined, { signal: term })

type Voice = ReturnType<typeof createVoice>

/** Three deltas, the message, one tool: six events in three requests, gathered as the runner's outbox does. */
const step = async (
  life: AgentLife,
  { event, send }: Voice,
  n: number,
  { modelMs, toolMs }: SimStep,
): Promise<void> => {
  const delta = (index: number) => event('message_delta', { message_id: `m${n}`, index, kind: 'text', delta: SENTENCE })
  await busy(modelMs / 2, life)
  await send([delta(0)])
  await busy(modelMs / 2, life)
  const message = event('message_complete', messageDone(n))
  await send([delta(1), delta(2), message, event('tool_start', toolStart(n))])
  await busy(toolMs, life).catch(async () => {
    await send([event('tool_end', toolEnd(n, 'aborted', toolMs))], { closing: true })
    throw new Told()
  })
  await send([event('tool_end', toolEnd(n, 'ok', toolMs))])
}

const DIES: Readonly<Partial<Record<Fate['kind'], AgentEnd>>> = { crashes: 137, oom: 'oom', lost: 'lost' }

const work = async (life: AgentLife, voice: Voice): Promise<AgentEnd> => {
  const { fate, job, term } = life
  const { event, send } = voice
  await send([event('agent_start', startData(life))])
  const dies = DIES[fate.kind]
  const steps = dies === undefined ? fate.steps : fate.steps.slice(0, 1)
  for (const [n, one] of steps.entries()) await step(life, voice, n, one)
  if (dies !== undefined) return dies
  if (fate.kind === 'hangs' || fate.kind === 'cancelled') {
    if (!term.aborted) await new Promise((resolve) => term.addEventListener('abort', resolve, { once: true }))
    throw new Told()
  }
  const failed = fate.kind === 'agent_error'
  const status = failed ? 'failed' : 'completed'
  const end = { status, reason: 'simulated', steps: steps.length, tool_calls: steps.length } as const
  const finish = failed
    ? ({ status: 'failed', cause: 'agent_error', error: 'simulated', synthetic: false } as const)
    : ({ status: 'success', cause: 'completed', synthetic: false } as const)
  await send(
    [event('agent_end', end, eventIds.agentEnd(job.run_id)), event('finish', finish, eventIds.finish(job.run_id))],
    { unlessEnding: true },
  )
  return failed ? RUNNER_EXIT.failed : RUNNER_EXIT.ok
}

/**
 * One agent's life, told to the sink that real runners use. Nothing in it computes: it waits, and says what an agent would
 * say. Never rejects.
 */
export const liveAgent = async (life: AgentLife): Promise<AgentEnd> => {
  const voice = createVoice(life)
  try {
    return await work(life, voice)
  } catch {
    const end = { status: 'cancelled', reason: 'told to go', steps: 0, tool_calls: 0 } as const
    if (voice.begun()) {
      await voice.send([voice.event('agent_end', end, eventIds.agentEnd(life.job.run_id))], { closing: true })
    }
    return RUNNER_EXIT.terminated
  }
}
