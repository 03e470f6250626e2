import { setTimeout as sleep } from 'node:timers/promises'
import { type EventData, type EventType, eventIds, makeEvent, type NewEvent } from '#contracts/events.ts'
import { RUNNER_EXIT } from '#contracts/job.ts'
import type { AppendOptions, AppendResult, EventLog } from '#store/event-log.ts'
import type { RunnerSide, ScriptedRunner } from './scripted-box.ts'

export type AgentScript = {
  /** Called with each step's number from 0; the agent ends after the last one. Default: one step, at once. */
  readonly steps?: number
  readonly beforeStep?: (step: number, self: RunnerSide) => void | Promise<void>
  readonly beforeStart?: (self: RunnerSide) => void | Promise<void>
  readonly beforeFinish?: (self: RunnerSide) => void | Promise<void>
  /** All is said but `finish`. */
  readonly atLast?: (self: RunnerSide) => void | Promise<void>
  readonly afterFinish?: (self: RunnerSide) => void | Promise<void>
  readonly onTerm?: 'close' | 'ignore'
  readonly cause?: 'completed' | 'agent_error'
}

/** Why it leaves: it is dead, or somebody ends its run. */
class Leave extends Error {}

const START: Omit<EventData['agent_start'], 'prompt' | 'container_id'> = {
  agent_name: 'agent',
  framework: 'vite',
  model: 'scripted',
  tier: 'primary',
  prompt_chars: 1,
  tools: ['bash'],
  limits: { max_steps: 5, deadline: new Date(0).toISOString() },
  runner_version: '0',
}

/** Appends as the contract says: it stops at the first sign that its run is being ended, and closes what it opened. */
const createVoice = (events: EventLog, self: RunnerSide) => {
  const { tenant_id, session_id, run_id, workspace_id } = self.job()
  const run = { tenant_id, session_id, run_id, workspace_id }
  let n = 0
  const say = async <T extends EventType>(
    type: T,
    data: EventData[T],
    options?: AppendOptions,
  ): Promise<AppendResult> => {
    if (self.killed.aborted) throw new Leave('killed')
    const id =
      type === 'agent_end'
        ? eventIds.agentEnd(run_id)
        : type === 'finish'
          ? eventIds.finish(run_id)
          : eventIds.runner(run_id, n++)
    const result = await events.append(session_id, [makeEvent(run, id, type, data) as NewEvent], options)
    if (result.outcome === 'finished') throw new Leave('finished')
    return result
  }
  /** With a look at how things stand: an ending, or TERM, is a reason to go. */
  const speak = async <T extends EventType>(type: T, data: EventData[T], options?: AppendOptions): Promise<void> => {
    const result = await say(type, data, options)
    if (result.outcome === 'ending' || (result.outcome === 'stored' && result.ending)) throw new Leave('ending')
  }
  return { run, say, speak }
}

const toolStart = (step: number): EventData['tool_start'] => ({
  tool_call_id: `t${step}`,
  message_id: `m${step}`,
  tool_name: 'bash',
  kind: 'execute',
  title: 'ls',
  input: { command: 'ls' },
  risk: 'low',
  attempt: 1,
})

const toolEnd = (step: number, status: 'ok' | 'aborted'): EventData['tool_end'] => ({
  tool_call_id: `t${step}`,
  tool_name: 'bash',
  status,
  output: '',
  output_bytes: 0,
  duration_ms: 1,
  last_in_batch: true,
})

/** Waits for the script's hook, but no longer than for TERM where the agent heeds it. */
const orTerm = async (hook: unknown, self: RunnerSide, heed: boolean): Promise<void> => {
  const { promise, resolve } = Promise.withResolvers<void>()
  const signals = heed ? [self.term, self.killed] : [self.killed]
  for (const signal of signals) signal.addEventListener('abort', () => resolve(), { once: true })
  await Promise.race([hook, promise])
  if (self.killed.aborted) throw new Leave('killed')
  if (heed && self.term.aborted) throw new Leave('term')
}

/** The agent runner as its contract has it, writing straight into the log; what a step does is the script's. */
export const agent =
  (events: EventLog, script: AgentScript = {}): ScriptedRunner =>
  async (self) => {
    const { steps = 1, cause = 'completed' } = script
    const heed = script.onTerm !== 'ignore'
    const { run, say, speak } = createVoice(events, self)
    const open = { agent: false, tool: undefined as number | undefined }
    const end = { status: 'cancelled', reason: 'told to go', steps, tool_calls: 0 } as const
    try {
      await orTerm(script.beforeStart?.(self), self, heed)
      const marks = await events.marks(run.session_id, run.run_id)
      if (marks.finish ?? marks.stopping ?? marks.cancelRequested) return RUNNER_EXIT.terminated
      if (marks.agentStart !== undefined) return RUNNER_EXIT.failed
      open.agent = true
      await speak('agent_start', { ...START, prompt: self.job().prompt, container_id: self.containerId })
      for (let step = 0; step < steps; step++) {
        open.tool = step
        await speak('tool_start', toolStart(step))
        await orTerm(script.beforeStep?.(step, self), self, heed)
        open.tool = undefined
        await speak('tool_end', toolEnd(step, 'ok'))
      }
      await orTerm(script.beforeFinish?.(self), self, heed)
      open.agent = false
      await speak('agent_end', { ...end, status: 'completed', reason: 'done' })
      await orTerm(script.atLast?.(self), self, heed)
      const status = cause === 'completed' ? 'success' : 'failed'
      await speak('finish', { status, cause, synthetic: false }, { unlessEnding: true })
      await script.afterFinish?.(self)
      return RUNNER_EXIT.ok
    } catch (error) {
      if (!(error instanceof Leave)) throw error
      if (self.killed.aborted) return RUNNER_EXIT.failed
      try {
        if (open.tool !== undefined) await say('tool_end', toolEnd(open.tool, 'aborted'))
        if (open.agent) await say('agent_end', end)
      } catch (late) {
        if (!(late instanceof Leave)) throw late
      }
      return RUNNER_EXIT.terminated
    }
  }

/** A hook that waits for the test, and says when it was reached. */
export const gate = () => {
  const reached = Promise.withResolvers<void>()
  const open = Promise.withResolvers<void>()
  return {
    reached: reached.promise,
    open: () => open.resolve(),
    hook: async (): Promise<void> => {
      reached.resolve()
      await open.promise
    },
  }
}

/** A step that takes this long. */
export const lasting = (ms: number) => (): Promise<void> => sleep(ms)
