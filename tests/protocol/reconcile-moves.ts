import type { Cause } from '#contracts/causes.ts'
import type { Run } from '#contracts/run.ts'
import { orphanNeeds, owesNothing } from '#scheduler/reconcile.ts'
import { verdictOf } from '#scheduler/watch.ts'
import { type Actor, step, update } from './ending-moves.ts'
import {
  dropBoxes,
  enqueue,
  is,
  isAway,
  isOwned,
  LATER,
  type Moves,
  marks,
  NOW,
  PASSED,
  type Scope,
  type Task,
  transition,
  type Worker,
  type World,
} from './world.ts'

/** What one pass of reconcile may do next: a task of its own, or something that is done in one call. */
type Choice = { readonly what: string; readonly task: Task }

export const isPassed = (date: Date | undefined): boolean => date?.getTime() === PASSED.getTime()

const listed = (w: World, engine: string): ReadonlySet<string> | undefined =>
  isAway(w, engine)
    ? undefined
    : new Set(w.boxes.filter((box) => box.listed && box.engine === engine).map((box) => box.run_id))

/** Five minutes without a worker: nobody of this engine is awake. */
const isEngineLost = (w: World, run: Run): boolean =>
  run.engine_id !== undefined && !w.workers.some(({ engine, asleep }) => engine === run.engine_id && !asleep)

const task = (why: Task['why'], run: Run, at: string, more: Partial<Task> = {}): Task => ({
  why,
  run_id: run.run_id,
  at,
  ...more,
})

const job = (w: World, scope: Scope, run: Run): Choice | undefined =>
  enqueue(scope, w, run.run_id) === w ? undefined : { what: 'finds no job', task: task('stray', run, 'act.enqueue') }

const unserved = (w: World, scope: Scope, run: Run): Choice | undefined => {
  if (run.state !== 'queued' && isOwned(w, run)) return undefined
  const seen = { attempt: run.attempt, state: run.state }
  if (isPassed(run.queue_deadline_at)) {
    return {
      what: 'ends it: queue timeout',
      task: task('unserved', run, 'queued.cas', { cause: 'queue_timeout', ...seen }),
    }
  }
  const verdict = verdictOf(marks(w, run))
  if (verdict === undefined) return job(w, scope, run)
  const cause: Cause = verdict.kind === 'end' ? verdict.cause : 'worker_lost'
  return { what: `ends it: ${cause}`, task: task('unserved', run, 'queued.cas', { cause, ...seen }) }
}

const live = (w: World, scope: Scope, engine: string, run: Run): Choice | undefined => {
  if (isOwned(w, run)) return undefined
  if (run.engine_id !== engine) {
    if (!isEngineLost(w, run)) return undefined
    const seen = { attempt: run.attempt, state: run.state, cause: 'worker_lost' } as const
    return { what: 'its engine is lost', task: task('lost engine', run, 'lost.cas', seen) }
  }
  const needs = orphanNeeds(run, marks(w, run), listed(w, engine), NOW)
  if (!needs.end || !is(scope, 'reconcile_needs_no_slot')) return job(w, scope, run)
  return { what: 'ends it', task: task('orphan', run, 'take.get', { lost: needs.gone }) }
}

const owed = (w: World, scope: Scope, engine: string, run: Run): Choice | undefined => {
  const keep = { attempt: run.attempt, owned: true } as const
  if (run.engine_id === engine) {
    if (isAway(w, engine)) return undefined
    // What an obvious reading does with a run that is finished: nothing of it is needed any more.
    const at = is(scope, 'lock_of_its_own') ? 'tidy.leave' : 'tidy.remove'
    return { what: 'clears its container away', task: task('owed', run, at, keep) }
  }
  if (run.quarantine_until === undefined) {
    return isEngineLost(w, run)
      ? { what: 'closes its workspace', task: task('owed', run, 'owed.close', keep) }
      : undefined
  }
  return isPassed(run.quarantine_until)
    ? { what: 'opens its workspace', task: task('owed', run, 'owed.open', keep) }
    : undefined
}

const strays = (w: World, engine: string, held: (runId: string) => boolean): Choice[] =>
  w.boxes
    .filter((box) => box.listed && box.engine === engine && !held(box.run_id) && owesNothing(w.runs[box.run_id]))
    .map(({ id, run_id }) => ({ what: `finds ${id}`, task: { why: 'stray', run_id, at: 'act.remove', box: id } }))

/** Every choice of a pass of this worker; each is what `reconcile` does to one run or container. */
export const passChoices = (w: World, scope: Scope, worker: Worker): Choice[] => {
  const { engine, slot, pass } = worker
  const held = (runId: string) => slot?.run_id === runId || pass?.run_id === runId
  const choices = Object.values(w.runs).flatMap((run) => {
    if (run.state === 'finished' && run.container_gone) return []
    const choice =
      run.state === 'finished'
        ? owed(w, scope, engine, run)
        : run.engine_id === undefined
          ? unserved(w, scope, run)
          : held(run.run_id)
            ? undefined
            : live(w, scope, engine, run)
    return choice ?? []
  })
  return isAway(w, engine) ? choices : [...choices, ...strays(w, engine, held)]
}

const orphanCause = (a: Actor): Cause => {
  if (a.task.lost) return 'container_lost'
  return isAway(a.w, a.engine ?? '') ? 'engine_unavailable' : 'timeout'
}

/** The compare-and-set that takes a run up only to end it; from there the ending is as always. */
const takeToEnd = (a: Actor, patch: Parameters<typeof transition>[3]): Moves => {
  const { attempt = -1, state = 'queued' } = a.task
  const taken = transition(a.w, a.task.run_id, { attempt, from: [state] }, { attempt: attempt + 1, ...patch })
  if (taken === undefined) return step(a, 'take-up to end it: somebody was quicker', a.end(a.w, 'done'))
  return step(a, 'takes it up to end it', a.go(taken, { at: 'end.marks', attempt: attempt + 1, owned: true }))
}

/** What reconcile (and for a queued run the API) does before the ending that all share. */
export const reconcileMoves = (a: Actor, run: Run): Moves => {
  switch (a.task.at) {
    case 'queued.cas':
      return takeToEnd(a, { state: 'starting' })
    case 'lost.cas':
      return takeToEnd(a, { quarantine_until: LATER })
    case 'owed.close':
      return update(a, 'document: quarantine', { quarantine_until: LATER }, 'done')
    case 'owed.open':
      return update(a, 'document: container gone', { container_gone: true }, 'done')
    case 'act.enqueue':
      return step(a, 'enqueues', a.end(enqueue(a.scope, a.w, run.run_id), 'done'))
    case 'act.remove':
      return step(
        a,
        `engine.remove ${a.task.box}`,
        a.end(
          dropBoxes(a.w, ({ id, listed }) => listed && id === a.task.box),
          'done',
        ),
      )
    default: {
      const verdict = verdictOf(marks(a.w, run))
      if (verdict?.kind === 'finish') return step(a, 'reads the marks: finish', a.go(a.w, { at: 'tidy.leave' }))
      const cause = verdict?.kind === 'end' ? verdict.cause : orphanCause(a)
      return step(a, `reads the marks: ${cause}`, a.go(a.w, { at: 'end.check', cause }))
    }
  }
}
