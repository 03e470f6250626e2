import { type Cause, statusOf } from '#contracts/causes.ts'
import { type EventData, eventIds, makeEvent, type SessionEventOf } from '#contracts/events.ts'
import type { Run, RunResult } from '#contracts/run.ts'
import { announceRun } from './announce.ts'
import type { EventLog, RunMarks } from './event-log.ts'
import { createOpenParts } from './open-parts.ts'
import type { RunPatch } from './run-store.ts'
import type { Store } from './store.ts'

/**
 * The log's half of the ending, the same for whoever does it: worker, `reconcile`, API. Every step is repeatable and may
 * be done by several at once; the first `stopping` fixes the cause and the first `finish` stands.
 * Why the order matters: ARCHITECTURE.md ("The ending"), and tests/scheduler/rules, where each rule fails without it.
 */

const PAGE = 500

/** Says in the log that the run is being ended and why, before any engine is asked anything. */
export const beginEnding = async (events: EventLog, run: Run, cause: Cause, error?: string): Promise<void> => {
  const marks = await events.marks(run.session_id, run.run_id)
  if (marks.finish !== undefined || marks.stopping !== undefined) return
  if (marks.userMessage === undefined) await announceRun(events, run)
  await events.append(run.session_id, [
    makeEvent(run, eventIds.stopping(run.run_id), 'run_state', {
      state: 'stopping',
      cause,
      ...(error === undefined ? {} : { error }),
    }),
  ])
}

/**
 * What `finish` says when it is not the runner's own: a cancel that was stored before it always ends as `cancelled`; else
 * the first `stopping` says why.
 */
export const finishData = (
  run: Pick<Run, 'started_at'>,
  marks: RunMarks,
  exitCode: number | null | undefined,
  now: Date,
): EventData['finish'] => {
  const { cause = 'worker_lost', error } =
    marks.cancelRequested === undefined ? (marks.stopping?.data ?? {}) : { cause: 'cancelled' as const }
  return {
    status: statusOf(cause),
    cause,
    ...(error === undefined ? {} : { error }),
    ...(typeof exitCode === 'number' ? { exit_code: exitCode } : {}),
    ...(run.started_at === undefined ? {} : { duration_ms: Math.max(0, now.getTime() - run.started_at.getTime()) }),
    synthetic: true,
  }
}

/**
 * Closes what the run left open and writes its `finish`, or returns the one that is there. Call after `beginEnding`.
 * After each clash it looks again at what is open: a runner that still lives may have begun something in between.
 * @param exitCode of the container, where it is known
 */
export const finishRun = async (
  events: EventLog,
  run: Run,
  exitCode?: number | null,
): Promise<SessionEventOf<'finish'>> => {
  const parts = createOpenParts()
  let seen = 0
  for (;;) {
    let tail = await events.tail(run.session_id)
    for (;;) {
      const page = await events.list(run.session_id, { after: seen, limit: PAGE, runId: run.run_id })
      for (const event of page) {
        parts.add(event)
        seen = event.seq
      }
      if (page.length < PAGE) break
    }
    tail = Math.max(tail, seen)
    const marks = await events.marks(run.session_id, run.run_id)
    if (marks.finish !== undefined) return marks.finish
    const data = finishData(run, marks, exitCode, new Date())
    const finish = makeEvent(run, eventIds.finish(run.run_id), 'finish', data)
    // `marks` was read after `tail`: a cancel between the two moves the tail, and the append is refused.
    await events.append(run.session_id, [...parts.closings(run, data.cause), finish], { ifTail: tail })
  }
}

/** The run's result: status, cause and error are those of its `finish`, whoever wrote it. */
export const resultOf = (run: Run, finish: SessionEventOf<'finish'>): RunResult => {
  const { status, cause, error } = finish.data
  const since = (run.started_at ?? run.created_at).getTime()
  const code = run.exit?.code
  return {
    session_id: run.session_id,
    run_id: run.run_id,
    status,
    cause,
    ...(error === undefined ? {} : { error }),
    elapsed_seconds: Math.max(0, finish.timestamp.getTime() - since) / 1000,
    ...(typeof code === 'number' ? { container_exit_code: code } : {}),
  }
}

/** The document's last change: status and cause are copied from `finish`. */
export const settlePatch = (run: Run, finish: SessionEventOf<'finish'>): RunPatch => ({
  state: 'finished',
  lock: false,
  finished_at: finish.timestamp,
  result: resultOf(run, finish),
  ...(typeof run.permit === 'number' && { permit: null }),
  ...(typeof run.tenant_permit === 'number' && { tenant_permit: null }),
})

/**
 * The document becomes `finished`, only now that `finish` is in the log.
 * @returns the finished run, or `undefined` when somebody else owns it (then that one settles it)
 */
export const settleRun = (
  store: Pick<Store, 'runs'>,
  run: Run,
  finish: SessionEventOf<'finish'>,
): Promise<Run | undefined> =>
  store.runs.transition(run.run_id, { attempt: run.attempt, from: ['starting', 'running'] }, settlePatch(run, finish))

/**
 * Takes a run up that no engine knows of and ends it: queued, or taken up like this by somebody who died on the way.
 * @returns false when a worker was quicker: it will meet the cancel, or the deadline, itself
 */
export const endQueuedRun = async (
  store: Pick<Store, 'runs' | 'events'>,
  run: Run,
  cause: Cause,
  owner: string,
  error?: string,
): Promise<boolean> => {
  const taken = await store.runs.transition(
    run.run_id,
    { attempt: run.attempt, from: [run.state] },
    { state: 'starting', attempt: run.attempt + 1, owner, seen_at: new Date() },
  )
  if (taken === undefined) return false
  await beginEnding(store.events, taken, cause, error)
  await settleRun(store, taken, await finishRun(store.events, taken))
  return true
}
