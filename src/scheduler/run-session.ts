import { join } from 'node:path'
import { RESULT_TEXT, type Run } from '#contracts/run.ts'
import type { JobHandler, JobOutcome } from '#queue/job-queue.ts'
import { announceRun } from '#store/announce.ts'
import { startAttesting } from './attest-run.ts'
import { createChooseRun } from './choose-run.ts'
import type { Missed } from './claim-slot.ts'
import { endRun, tidyRun } from './end-run.ts'
import { startLogPump } from './log-pump.ts'
import type { Opened } from './open-sandbox.ts'
import { openSandbox, serveGateway } from './open-sandbox.ts'
import { CALM_MS, pause, untilDone, within } from './patience.ts'
import { choosePlace, type End, LOST, type Plan, planSandbox, renewToken } from './plan-sandbox.ts'
import { holdRun, type OwnedRun } from './run-ownership.ts'
import type { FirstTakeUp } from './take-up.ts'
import {
  askEngine,
  type EngineHealth,
  type Verdict,
  verdictOf,
  watchExit,
  watchHandOff,
  watchLogAndDeadline,
} from './watch.ts'
import { OwnershipLost, type WorkerContext } from './worker-context.ts'

/** Times `CALM_MS`. */
const CALM_ROUNDS = 10

/** Everything that one handler watches its run with. */
type Watch = {
  readonly ctx: WorkerContext
  readonly owned: OwnedRun
  /** What log or deadline come to. */
  readonly decided: Promise<Verdict>
  readonly health: EngineHealth
  readonly signal: AbortSignal
}

/**
 * A verdict that comes before `work` is done aborts it, waits for it, and wins. Not for ever: an engine that hangs must
 * not keep a run from its end.
 */
const unlessDecided = async <T>(
  { ctx, owned, decided, signal }: Watch,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T | Verdict> => {
  const scope = new AbortController()
  const working = work(AbortSignal.any([signal, scope.signal]))
  try {
    return await Promise.race([working, decided])
  } finally {
    scope.abort()
    const settled = working.catch(() => {})
    await within(settled, ctx.config.timings.enginePatience, owned.lost).catch(() => {})
  }
}

type NoJob = { readonly kind: 'no_job'; readonly containerId: string; readonly warm: boolean }

/** What becomes of a container that runs; meanwhile what holds it is stored with the run. */
const watchSandbox = async (watch: Watch, warm: boolean): Promise<Verdict> => {
  const { ctx, owned, health, signal } = watch
  await using _attesting = startAttesting(ctx, owned, signal)
  return await unlessDecided(watch, (inner) => {
    const exit = watchExit(ctx, owned.run, health, inner)
    return warm ? Promise.race([exit, watchHandOff(ctx, owned.run, inner)]) : exit
  })
}

/**
 * An agent that was started ahead begins within milliseconds: it has the machine for itself that long, because nothing that is
 * begun here needs to be as quick.
 */
const calm = async ({ ctx, decided, signal }: Watch): Promise<void> => {
  const settled = decided.then(
    () => true,
    () => true,
  )
  // In a burst until the last one has begun, within limits.
  for (let n = 0; n < CALM_ROUNDS; n++) {
    const over = await Promise.race([pause(CALM_MS, signal).then(() => false), settled])
    if (over || (ctx.pool?.sinceTake() ?? CALM_MS) >= CALM_MS) return
  }
}

/** One container's life: served, opened, watched. `no_job` comes back to the caller, everything else is ended here. */
const liveInSandbox = async (watch: Watch, plan: Exclude<Plan, End>): Promise<JobOutcome | NoJob | Missed> => {
  const { ctx, owned } = watch
  const place = choosePlace(ctx, owned.run, plan)
  await using gateway = serveGateway(ctx, owned.run, place)
  // A claim has other things to do until it listens; should it not, the cold start comes here, and says why.
  const unserved = place.slot === undefined ? await gateway.end : undefined
  if (unserved !== undefined) return await endRun(ctx, owned, ...causeOf(unserved))
  const opened = await unlessDecided(watch, (inner) => openSandbox(ctx, owned, place, gateway, inner))
  if (opened.kind === 'missed') return opened
  if (opened.kind === 'finish') return await tidyRun(ctx, owned, opened.finish)
  if (opened.kind !== 'open') return await endRun(ctx, owned, ...causeOf(opened))
  if (opened.warm) await calm(watch)
  await using pump = startLogPump(ctx, owned.run)
  const { containerId, warm } = opened
  const verdict = await watchSandbox(watch, warm)
  if (verdict.kind === 'finish') return await tidyRun(ctx, owned, verdict.finish, pump)
  if (verdict.kind === 'no_job' && owned.run.restarts === 0) return { ...verdict, containerId, warm }
  return await endRun(ctx, owned, ...causeOf(verdict), pump)
}

const causeOf = (end: Exclude<Opened | Verdict, { kind: 'open' | 'finish' }>) =>
  end.kind === 'no_job'
    ? (['start_failed', RESULT_TEXT.startFailed('the runner got no job line, twice')] as const)
    : ([end.cause, end.error] as const)

/** Removes the container that got no job line by the id that was seen: a stale owner must not remove the second one. */
const startAnew = async (
  { ctx, owned, health }: Watch,
  { containerId, warm }: NoJob,
  signal: AbortSignal,
): Promise<Plan> => {
  await askEngine(ctx, owned.run, health, () => ctx.engine.remove(owned.run, containerId), signal)
  if (!warm) return renewToken(owned, { restarts: 1 })
  // It was not seen to begin, and may have begun a moment later: only now can it no more.
  const { agentStart } = await untilDone(() => ctx.store.events.marks(owned.run.session_id, owned.run.run_id), signal)
  return agentStart === undefined ? renewToken(owned, { restarts: 1 }, { miss: 'handoff_failed', again: true }) : LOST
}

const watchDisk = ({ disk, config }: WorkerContext, run: Run, starting: boolean, signal: AbortSignal) => {
  const { workspace_id } = run
  return disk === undefined
    ? []
    : [disk.watch({ workspace_id, path: join(config.workspacesRoot, workspace_id), starting }, signal)]
}

/**
 * What the log says of the run, and behind which place it is to be followed; `user_message` is written where it is missing. A
 * run that was never taken up has hardly a log: to follow all of it spares a look at the end before the look at the marks.
 */
const readLog = async ({ store: { events } }: WorkerContext, run: Run, first: FirstTakeUp, signal: AbortSignal) => {
  const { session_id, run_id } = run
  const tail = first.token === undefined ? await untilDone(() => events.tail(session_id), signal) : undefined
  const ahead = await first.marks?.catch(() => undefined)
  // Where it was asked before the API had announced the run, that is done by now.
  const marks = ahead?.userMessage ? ahead : await untilDone(() => events.marks(session_id, run_id), signal)
  if (marks.userMessage !== undefined) return { marks, after: tail ?? marks.userMessage.seq }
  const announced = await untilDone(() => announceRun(events, run), signal)
  const begins = announced.outcome === 'stored' ? announced.seqs[0] : undefined
  return { marks, after: tail ?? begins ?? 0 }
}

/** From take-up to the end of the run, or to the hand-back. */
const runSession = async (
  ctx: WorkerContext,
  owned: OwnedRun,
  first: FirstTakeUp,
  signal: AbortSignal,
): Promise<JobOutcome> => {
  const { token: firstToken, ahead } = first
  const { after, marks } = await readLog(ctx, owned.run, first, signal)
  const early = verdictOf(marks)
  if (early?.kind === 'finish') return tidyRun(ctx, owned, early.finish)
  if (early !== undefined) return endRun(ctx, owned, ...causeOf(early))

  const health: EngineHealth = { away: false }
  const decided = Promise.race([
    watchLogAndDeadline(ctx, owned.run, after, health, signal),
    ...watchDisk(ctx, owned.run, firstToken !== undefined, signal),
  ])
  decided.catch(() => {})
  const watch: Watch = { ctx, owned, decided, health, signal }
  const known = { agentStarted: marks.agentStart !== undefined, firstToken, ahead }
  let plan = await unlessDecided(watch, (inner) => planSandbox(ctx, owned, known, health, inner))
  for (;;) {
    if (plan.kind === 'finish') return tidyRun(ctx, owned, plan.finish)
    if (plan.kind === 'end' || plan.kind === 'no_job') return endRun(ctx, owned, ...causeOf(plan))
    const outcome = await liveInSandbox(watch, plan)
    if (outcome.kind === 'missed') {
      plan = { kind: 'start', token: outcome.token, miss: outcome.miss, again: true }
      continue
    }
    if (outcome.kind !== 'no_job') return outcome
    plan = await unlessDecided(watch, (inner) => startAnew(watch, outcome, inner))
  }
}

/**
 * The queue's handler: takes a run up, works it to its end, and answers with its result. A worker that shuts down hands
 * the run back and leaves its container running; one that lost the run touches nothing more.
 */
export const createRunHandler = (ctx: WorkerContext): JobHandler => {
  const { place, choose, changed } = createChooseRun(ctx)
  const later = { kind: 'later', delayMs: ctx.config.timings.heartbeat } as const
  return async (job, handBack) => {
    using _place = place()
    const taken = await choose(job, handBack)
    if (taken.kind === 'not') return taken.outcome
    const { run_id } = taken.run
    try {
      const outcome = await work(ctx, taken.run, taken, handBack)
      // The job was a hint for another run: that one may still wait.
      return run_id !== job.run_id && outcome.kind === 'done' ? { kind: 'later', delayMs: 0 } : outcome
    } catch (error) {
      if (!(error instanceof OwnershipLost)) throw error
      ctx.log.warn({ run_id }, error.message)
      return later
    } finally {
      ctx.held.delete(run_id)
      changed()
    }
  }
}

const work = async (
  ctx: WorkerContext,
  run: OwnedRun['run'],
  first: FirstTakeUp,
  handBack: AbortSignal,
): Promise<JobOutcome> => {
  await using owned = holdRun(ctx, run)
  const scope = new AbortController()
  try {
    return await runSession(ctx, owned, first, AbortSignal.any([handBack, owned.lost, scope.signal]))
  } catch (error) {
    if (!handBack.aborted || owned.lost.aborted) throw error
    await owned.handBack()
    return { kind: 'later', delayMs: 0 }
  } finally {
    scope.abort()
  }
}
