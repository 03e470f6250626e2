import type { Cause } from '#contracts/causes.ts'
import type { SessionEventOf } from '#contracts/events.ts'
import { RUNNER_EXIT } from '#contracts/job.ts'
import { RESULT_TEXT, type Run, type SandboxExit } from '#contracts/run.ts'
import type { RunMarks } from '#store/event-log.ts'
import { pause, untilDone } from './patience.ts'
import type { WorkerContext } from './worker-context.ts'

/** What a watched run has come to. */
export type Verdict =
  /** The runner (or another ender) has written `finish`. */
  | { readonly kind: 'finish'; readonly finish: SessionEventOf<'finish'> }
  | { readonly kind: 'end'; readonly cause: Cause; readonly error?: string }
  /** The runner left because no job line had reached it. */
  | { readonly kind: 'no_job' }

/** Shared by the watchers of one run: whether the engine answered when it was asked last. */
export type EngineHealth = { away: boolean }

/** What the log says already, in the order of causes: own `finish`, then cancel, then the first `stopping`. */
export const verdictOf = (marks: RunMarks): Verdict | undefined => {
  if (marks.finish !== undefined) return { kind: 'finish', finish: marks.finish }
  if (marks.cancelRequested !== undefined) return { kind: 'end', cause: 'cancelled' }
  if (marks.stopping === undefined) return undefined
  return { kind: 'end', cause: marks.stopping.data.cause ?? 'worker_lost' }
}

/** The first event behind `after` that decides the run. Woken at once; the follower polls besides. */
const watchLog = async (ctx: WorkerContext, run: Run, after: number, signal: AbortSignal): Promise<Verdict> => {
  for await (const event of ctx.follower.follow(run.session_id, { after, runId: run.run_id, signal })) {
    if (event.event_type === 'finish') return { kind: 'finish', finish: event }
    if (event.event_type === 'cancel_requested') return { kind: 'end', cause: 'cancelled' }
    if (event.event_type === 'run_state' && event.data.state === 'stopping') {
      return { kind: 'end', cause: event.data.cause ?? 'worker_lost' }
    }
  }
  signal.throwIfAborted()
  throw new Error('the tail of the log ended by itself')
}

export const ENGINE_AWAY_TEXT = 'The container engine did not answer at the deadline'

export const timeoutText = (ctx: WorkerContext, run: Run): string =>
  RESULT_TEXT.timeout(run.options.timeout_seconds ?? ctx.config.taskTimeoutSeconds)

/** Waits for the stored, absolute deadline: an adopted run gets no second one. */
const watchDeadline = async (
  ctx: WorkerContext,
  run: Run,
  health: EngineHealth,
  signal: AbortSignal,
): Promise<Verdict> => {
  const deadline = run.deadline_at ?? run.created_at
  await pause(Math.max(0, deadline.getTime() - Date.now()), signal)
  if (health.away) return { kind: 'end', cause: 'engine_unavailable', error: ENGINE_AWAY_TEXT }
  return { kind: 'end', cause: 'timeout', error: timeoutText(ctx, run) }
}

/** Log and deadline; the container's exit is watched apart, because there is none at first. */
export const watchLogAndDeadline = (
  ctx: WorkerContext,
  run: Run,
  after: number,
  health: EngineHealth,
  signal: AbortSignal,
): Promise<Verdict> => Promise.race([watchLog(ctx, run, after, signal), watchDeadline(ctx, run, health, signal)])

const REMOVED_TEXT = 'The container was removed by somebody else while it ran'

/** What a container's end means where the log does not say how the run ended. */
export const exitVerdict = (exit: SandboxExit, marks: RunMarks): Verdict => {
  if (exit.code === RUNNER_EXIT.noJob && marks.agentStart === undefined) return { kind: 'no_job' }
  if (exit.reason === 'lost') {
    const error = exit.detail === undefined ? REMOVED_TEXT : `The container was lost: ${exit.detail}`
    return { kind: 'end', cause: 'container_lost', error }
  }
  // A child's OOM sets the engine's flag too: only a container that failed was killed by it.
  const cause = exit.reason === 'oom' && exit.code !== 0 ? 'oom_killed' : 'container_exited'
  const error = RESULT_TEXT.exitedWithoutFinish(exit.code)
  return { kind: 'end', cause, error: exit.detail === undefined ? error : `${error} (${exit.detail})` }
}

/** Asks the engine until it answers. Once it has been away it is asked something short first, so that its return is seen. */
export const askEngine = async <T>(
  ctx: WorkerContext,
  run: Run,
  health: EngineHealth,
  call: () => Promise<T>,
  signal: AbortSignal,
): Promise<T> =>
  untilDone(
    async () => {
      if (health.away) await ctx.engine.find(run)
      health.away = false
      return call()
    },
    signal,
    (error) => {
      health.away = true
      ctx.log.warn({ err: error, run_id: run.run_id }, 'the engine does not answer; asking again')
    },
  )

/** How the container ended, and what that means: the runner's own `finish` may be in the log already. */
export const watchExit = async (
  ctx: WorkerContext,
  run: Run,
  health: EngineHealth,
  signal: AbortSignal,
): Promise<Verdict> => {
  const exit = await askEngine(ctx, run, health, () => ctx.engine.wait(run, signal), signal)
  const marks = await untilDone(() => ctx.store.events.marks(run.session_id, run.run_id), signal)
  // Killed when its time was over: by the engine itself, as the last net.
  const isLate = exit.reason === 'killed' && run.deadline_at !== undefined && run.deadline_at <= new Date()
  const late = { kind: 'end', cause: 'timeout', error: timeoutText(ctx, run) } as const
  return verdictOf(marks) ?? (isLate ? late : exitVerdict(exit, marks))
}

/**
 * A container that was started ahead has no limit of its own for its job line: `no_job` when its agent has not begun in time,
 * whoever died or slept before the line was written. Never resolves otherwise.
 */
export const watchHandOff = async (ctx: WorkerContext, run: Run, signal: AbortSignal): Promise<Verdict> => {
  await pause(ctx.config.timings.handOff, signal)
  const marks = await untilDone(() => ctx.store.events.marks(run.session_id, run.run_id), signal)
  if (marks.agentStart === undefined) return { kind: 'no_job' }
  return new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason), { once: true }))
}
