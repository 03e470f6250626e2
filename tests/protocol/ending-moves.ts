import { statusOf } from '#contracts/causes.ts'
import { eventIds, makeEvent } from '#contracts/events.ts'
import type { Run, SandboxExit } from '#contracts/run.ts'
import { exitFrom, LOST } from '#scheduler/engines/exit-reason.ts'
import { finishData, settlePatch } from '#store/ending.ts'
import { createOpenParts } from '#store/open-parts.ts'
import type { RunPatch } from '#store/run-store.ts'
import {
  announcement,
  append,
  type Box,
  boxOf,
  dropBoxes,
  finishOf,
  is,
  isAtWork,
  isAway,
  LIVE,
  logOf,
  type Moves,
  marks,
  NOW,
  putBox,
  type Scope,
  type Task,
  transition,
  type World,
} from './world.ts'

/** A process in the middle of a task: how its next step is written down. */
export type Actor = {
  readonly who: string
  /** `undefined`: it can ask no engine (the API). */
  readonly engine: string | undefined
  readonly task: Task
  readonly w: World
  readonly scope: Scope
  /** The task goes on. */
  go(w: World, change: Partial<Task>): World
  /** The task is over: a job is `done`, or offered again `later`. */
  end(w: World, how: 'done' | 'later'): World
}

/** One step of the actor. */
export const step = (a: Actor, what: string, next: World, breaks?: string): Moves => [
  { who: a.who, kind: 'step', what: `${what} (${a.task.run_id})`, next, ...(breaks !== undefined && { breaks }) },
]

/** A change of the document by its owner; when the compare-and-set fails the task is over (rule 6). */
export const update = (a: Actor, what: string, patch: RunPatch, then: Partial<Task> | 'done'): Moves => {
  const { task } = a
  const from = task.why === 'owed' ? (['finished'] as const) : LIVE
  const after = transition(a.w, task.run_id, { attempt: task.attempt ?? -1, from }, patch)
  if (after === undefined) return step(a, `${what}: somebody else owns the run`, a.end(a.w, 'later'))
  return step(a, what, then === 'done' ? a.end(after, 'done') : a.go(after, then))
}

/** The container that a call addressed to the run meets. */
export const addressed = (a: Actor): Box | undefined => {
  const { w, task, engine = '' } = a
  if (is(a.scope, 'address_by_run')) return boxOf(w, engine, task.run_id)
  const session = w.runs[task.run_id]?.session_id
  return w.boxes.find((box) => box.listed && box.engine === engine && w.runs[box.run_id]?.session_id === session)
}

const strangers = (a: Actor, box: Box): string | undefined =>
  box.run_id === a.task.run_id ? undefined : "a container is stopped by nobody but its run's owner"

export const exitOf = (box: Box): SandboxExit => exitFrom(box.code, false)

/** Who has no engine to ask goes straight on to the log. */
const hasEngine = ({ task }: Actor): boolean => task.why !== 'unserved' && task.why !== 'lost engine'

const afterStopping = (a: Actor): string => (hasEngine(a) ? 'end.stop' : 'finish.list')

const afterMarks = (a: Actor): string => (is(a.scope, 'stopping_first') ? 'end.stopping' : afterStopping(a))

const beginEnding = (a: Actor, run: Run): Moves => {
  const { userMessage, stopping, finish } = marks(a.w, run)
  const ask = afterStopping(a)
  if (finish !== undefined || stopping !== undefined)
    return step(a, 'reads the marks: it is being ended', a.go(a.w, { at: ask }))
  return step(a, 'reads the marks', a.go(a.w, { at: userMessage === undefined ? 'end.announce' : afterMarks(a) }))
}

const sayStopping = (a: Actor, run: Run): Moves => {
  const ask = afterStopping(a)
  const cause = a.task.cause ?? 'worker_lost'
  const event = makeEvent(run, eventIds.stopping(run.run_id), 'run_state', { state: 'stopping', cause })
  const { w, result } = append(a.w, run, [event])
  return step(a, `says stopping, ${cause}: ${result.outcome}`, a.go(w, { at: ask }))
}

/** TERM; what the runner makes of it is its own affair until KILL. */
const stop = (a: Actor, wait: string): Moves => {
  if (isAway(a.w, a.engine ?? '')) return step(a, 'engine.stop: no answer, gives up', a.go(a.w, { at: wait }))
  const box = addressed(a)
  if (box === undefined) return step(a, 'engine.stop: nothing there', a.go(a.w, { at: wait }))
  return step(
    a,
    `engine.stop ${box.id}: TERM`,
    a.go(putBox(a.w, { ...box, term: true }), { at: wait }),
    strangers(a, box),
  )
}

/** Until it is over; KILL may come at any time before. `then` is given how it ended, where the engine could say. */
const waitForEnd = (a: Actor, then: (exit: SandboxExit | undefined) => Partial<Task>): Moves => {
  if (isAway(a.w, a.engine ?? '')) return step(a, 'engine.wait: no answer, gives up', a.go(a.w, then(undefined)))
  const box = addressed(a)
  if (box === undefined) return step(a, 'engine.wait: lost', a.go(a.w, then(LOST)))
  if (box.state === 'exited') return step(a, `engine.wait: ${box.code}`, a.go(a.w, then(exitOf(box))))
  const dead: Box = { ...box, state: 'exited', code: 137 }
  return step(a, `engine.stop ${box.id}: KILL`, a.go(putBox(a.w, dead), {}), strangers(a, box))
}

/** What the ender closes: all that was open at the place up to which it has read. */
const closingsAt = (w: World, run: Run, tail: number, reason: string) => {
  const parts = createOpenParts()
  for (const event of logOf(w, run).slice(0, tail)) if (event.run_id === run.run_id) parts.add(event)
  return parts.closings(run, reason)
}

const readMarks = (a: Actor, run: Run): Moves => {
  const found = marks(a.w, run)
  if (found.finish !== undefined)
    return step(a, 'reads the marks: finish is there', a.go(a.w, { at: hasEngine(a) ? 'tidy.leave' : 'tidy.settle' }))
  const { cancelRequested, stopping, ...rest } = found
  const cancel = is(a.scope, 'cancel_before_stopping') && cancelRequested !== undefined
  const own = stopping === undefined && !cancel ? a.task.cause : undefined
  const seen = { ...rest, ...(stopping && { stopping }), ...(cancel && { cancelRequested }) }
  const says = own ?? finishData(run, seen, undefined, NOW).cause
  return step(a, `reads the marks: it will be ${says}`, a.go(a.w, { at: 'finish.append', says }))
}

const atWorkStill = (a: Actor, w: World): string | undefined => {
  const sure = a.task.exit !== undefined
  const works = w.boxes.some((box) => box.run_id === a.task.run_id && box.listed && isAtWork(box))
  return sure && works ? 'no container is at work for a run that is over' : undefined
}

const appendFinish = (a: Actor, run: Run): Moves => {
  const { says: cause = 'worker_lost', tail = 0 } = a.task
  const careful = is(a.scope, 'closings_looked_at_again')
  const data = { status: statusOf(cause), cause, synthetic: true }
  const finish = makeEvent(run, eventIds.finish(run.run_id), 'finish', data)
  const events = [...closingsAt(a.w, run, tail, cause), finish]
  const { w, result } = append(a.w, run, events, careful ? { ifTail: tail } : {})
  const what = `appends ${events.map((event) => event.event_type).join(', ')} (${cause}): ${result.outcome}`
  if (result.outcome !== 'stored') return step(a, what, a.go(w, { at: 'finish.list' }))
  return step(a, what, a.go(w, { at: hasEngine(a) ? 'tidy.leave' : 'tidy.settle' }), atWorkStill(a, w))
}

/** Of a container that never worked for the run nobody would miss the facts. */
const factsMissing = (a: Actor, box: Box): string | undefined => {
  const run = a.w.runs[a.task.run_id]
  const start = run && marks(a.w, run).agentStart
  const worked = start?.data.container_id === box.id
  return worked && run?.exit === undefined ? 'exit facts are kept before a container is removed' : undefined
}

const remove = (a: Actor): Moves => {
  const next = a.task.why === 'owed' ? 'over' : 'tidy.settle'
  if (isAway(a.w, a.engine ?? '')) return step(a, 'engine.remove: no answer, it stays owed', a.go(a.w, { at: next }))
  const box = addressed(a)
  const removed = a.go(
    dropBoxes(a.w, ({ id }) => id === box?.id),
    { at: 'tidy.gone' },
  )
  return step(a, `engine.remove ${box?.id ?? 'nothing'}`, removed, box && (strangers(a, box) ?? factsMissing(a, box)))
}

const settle = (a: Actor, run: Run): Moves => {
  const finish = finishOf(a.w, run)
  if (finish === undefined) throw new Error('settles without a finish')
  const patch = settlePatch(run, finish)
  const own = { ...patch.result, cause: a.task.cause ?? finish.data.cause } as typeof patch.result
  return update(
    a,
    'document: finished',
    is(a.scope, 'document_copies_finish') ? patch : { ...patch, ...(own && { result: own }) },
    'done',
  )
}

/** After `finish`: facts, removal, document. An engine that stays away leaves the removal owed. */
const tidyMoves = (a: Actor, run: Run): Moves => {
  const owed = a.task.why === 'owed'
  switch (a.task.at) {
    case 'tidy.leave': {
      const box = addressed(a)
      const running = box !== undefined && box.state !== 'exited' && !isAway(a.w, a.engine ?? '')
      return running ? stop(a, 'tidy.wait') : waitForEnd(a, afterExit(owed))
    }
    case 'tidy.wait':
      return waitForEnd(a, afterExit(owed))
    case 'tidy.exit':
      return update(a, 'document: exit', { exit: a.task.exit as SandboxExit }, { at: 'tidy.remove' })
    case 'tidy.remove':
      return remove(a)
    case 'tidy.gone':
      return update(a, 'document: container gone', { container_gone: true }, owed ? 'done' : { at: 'tidy.settle' })
    default:
      return settle(a, run)
  }
}

const afterExit =
  (owed: boolean) =>
  (exit: SandboxExit | undefined): Partial<Task> => {
    if (exit === undefined) return { at: owed ? 'over' : 'tidy.settle' }
    return exit.reason === 'lost' ? { at: 'tidy.remove' } : { at: 'tidy.exit', exit }
  }

/** The ending, the same for whoever does it: src/store/ending.ts and src/scheduler/end-run.ts. */
export const endingMoves = (a: Actor, run: Run): Moves => {
  switch (a.task.at) {
    case 'end.check':
      return update(a, 'document: still mine', {}, { at: 'end.marks' })
    case 'end.marks':
      return beginEnding(a, run)
    case 'end.announce':
      return step(a, 'says user_message', a.go(append(a.w, run, announcement(run)).w, { at: afterMarks(a) }))
    case 'end.stopping':
      return sayStopping(a, run)
    case 'end.stop':
      return stop(a, 'end.wait')
    case 'end.wait':
      return waitForEnd(a, (exit) => ({ at: 'finish.list', exit }))
    case 'finish.list':
      return step(a, 'reads what is open', a.go(a.w, { at: 'finish.marks', tail: logOf(a.w, run).length }))
    case 'finish.marks':
      return readMarks(a, run)
    case 'finish.append':
      return appendFinish(a, run)
    case 'over':
      return step(a, 'leaves the removal owed', a.end(a.w, 'done'))
    default:
      return tidyMoves(a, run)
  }
}
