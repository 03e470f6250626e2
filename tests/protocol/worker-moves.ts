import type { Cause } from '#contracts/causes.ts'
import type { Run } from '#contracts/run.ts'
import { adoptOrEnd } from '#scheduler/plan-sandbox.ts'
import { exitVerdict, type Verdict, verdictOf } from '#scheduler/watch.ts'
import { type Actor, exitOf, step, update } from './ending-moves.ts'
import { NEW_RUNNER } from './runner-moves.ts'
import {
  announcement,
  append,
  type Box,
  boxOf,
  dropBoxes,
  is,
  isAway,
  LIVE,
  type Moves,
  marks,
  PASSED,
  putBox,
  type Task,
} from './world.ts'

const toEnd = (cause: Cause): Partial<Task> => ({ at: 'end.check', cause })

const byVerdict = (verdict: Exclude<Verdict, { kind: 'no_job' }>): Partial<Task> =>
  verdict.kind === 'finish' ? { at: 'tidy.leave' } : toEnd(verdict.cause)

/** After the take-up: what the log says already, and `user_message` where it is missing. */
const readLog = (a: Actor, run: Run): Moves => {
  const { w, task, scope } = a
  const found = marks(w, run)
  const early = verdictOf(found)
  const agentStarted = found.agentStart !== undefined
  const open: Partial<Task> = { at: task.fresh ? 'start.create' : 'plan.find', agentStarted }
  const then = early === undefined || early.kind === 'no_job' ? open : byVerdict(early)
  const missing = found.userMessage === undefined && is(scope, 'user_message_first')
  const next = missing ? append(w, run, announcement(run)).w : w
  return step(a, `reads the log${missing ? ', says user_message' : ''}`, a.go(next, then))
}

/** One container for each run: adopt, end, or go on to start one. */
const find = (a: Actor): Moves => {
  const { w, task, scope, engine = '' } = a
  if (isAway(w, engine)) return []
  const box = boxOf(w, engine, task.run_id)
  const began = task.agentStarted === true && is(scope, 'one_container')
  const plan = adoptOrEnd(box && { started: box.state !== 'created', containerId: box.id }, began)
  const what = `engine.find: ${box?.id ?? 'nothing'}`
  if (plan === undefined) return step(a, what, a.go(w, { at: 'plan.token' }))
  return step(a, what, a.go(w, plan.kind === 'adopt' ? { at: 'open.cas', box: plan.containerId } : toEnd(plan.cause)))
}

const create = (a: Actor, run: Run): Moves => {
  const { w, scope, engine = '' } = a
  if (isAway(w, engine)) return step(a, 'engine.start: no answer, gives up', a.go(w, toEnd('engine_unavailable')))
  const own = boxOf(w, engine, run.run_id)
  if (own && own.state !== 'created')
    return step(a, `engine.start: ${own.id} is there`, a.go(w, { at: 'start.marks', box: own.id }))
  const inTheWay = (box: Box): boolean => {
    const other = w.runs[box.run_id]
    if (!box.listed || box.engine !== engine || box.run_id === run.run_id || other === undefined) return false
    const workspace = other.workspace_id === run.workspace_id && is(scope, 'start_waits_by_workspace')
    return other.session_id === run.session_id || workspace
  }
  if (w.boxes.some(inTheWay)) return []
  const n = (w.made[run.run_id] ?? 0) + 1
  const id = `${run.run_id}.${n}`
  const box: Box = {
    id,
    run_id: run.run_id,
    engine,
    state: 'created',
    code: 0,
    listed: true,
    term: false,
    line: true,
    runner: NEW_RUNNER,
  }
  const others = dropBoxes(w, (other) => other.id === own?.id)
  const next = { ...others, boxes: [...others.boxes, box], made: { ...w.made, [run.run_id]: n } }
  const what = `engine.start: creates ${id}${own ? ` in place of ${own.id}` : ''}`
  return step(a, what, a.go(next, { at: 'start.start', box: id }))
}

const ownBox = (a: Actor): Box | undefined => a.w.boxes.find(({ id, listed }) => id === a.task.box && listed)

const startMoves = (a: Actor, run: Run): Moves => {
  const { w, task, engine = '' } = a
  const box = ownBox(a)
  switch (task.at) {
    case 'start.create':
      return create(a, run)
    case 'start.start':
      if (isAway(w, engine)) return step(a, 'engine.start: no answer, gives up', a.go(w, toEnd('engine_unavailable')))
      if (box === undefined) return step(a, 'engine.start: removed meanwhile', a.go(w, toEnd('start_failed')))
      return step(
        a,
        `engine.start: starts ${box.id}`,
        a.go(putBox(w, { ...box, state: 'running' }), { at: 'open.cas' }),
      )
    case 'start.marks': {
      const began = marks(w, run).agentStart !== undefined && is(a.scope, 'one_container')
      return step(a, 'reads the marks', a.go(w, began ? toEnd('container_lost') : { at: 'start.check' }))
    }
    case 'start.check':
      return update(a, 'document: still mine', {}, { at: 'start.remove' })
    default: {
      if (isAway(w, engine)) return step(a, 'engine.remove: no answer, gives up', a.go(w, toEnd('engine_unavailable')))
      const at = task.at === 'start.remove' ? 'start.create' : 'plan.token'
      return step(
        a,
        `engine.remove ${task.box}`,
        a.go(
          dropBoxes(w, ({ id, listed }) => listed && id === task.box),
          { at },
        ),
      )
    }
  }
}

/** The container's end, and what the log says after that. */
const watch = (a: Actor, run: Run): Moves => {
  const { w, task, engine = '' } = a
  if (task.at === 'watch.marks') {
    const { exit } = task
    if (exit === undefined) throw new Error('no exit')
    const found = is(a.scope, 'document_copies_finish') ? marks(w, run) : {}
    const verdict = verdictOf(found) ?? exitVerdict(exit, marks(w, run))
    if (verdict.kind !== 'no_job')
      return step(a, 'reads the marks', a.go(w, { ...byVerdict(verdict), exit: undefined }))
    const twice = run.restarts > 0
    return step(
      a,
      'reads the marks: no job line',
      a.go(w, twice ? toEnd('start_failed') : { at: 'anew.remove', exit: undefined }),
    )
  }
  if (isAway(w, engine)) return []
  const box = boxOf(w, engine, task.run_id)
  if (box === undefined)
    return step(a, 'engine.wait: lost', a.go(w, { at: 'watch.marks', exit: { code: null, reason: 'lost' } }))
  if (box.state !== 'exited') return []
  return step(a, `engine.wait: ${box.code}`, a.go(w, { at: 'watch.marks', exit: exitOf(box) }))
}

const WATCHING = /^(plan|start|open|watch|anew)\b/

/** Calls that a decision cuts short, or finds not yet made. A compare-and-set under way is waited for. */
const CUT_SHORT: readonly string[] = [
  'plan.find',
  'start.create',
  'start.start',
  'start.remove',
  'watch.exit',
  'anew.remove',
]

/** Log and deadline are watched beside everything up to the ending; a start that is cut short leaves nothing behind. */
const watchers = (a: Actor, run: Run): Moves => {
  const { task, engine = '' } = a
  if (!CUT_SHORT.includes(task.at)) return []
  const box = task.at === 'start.start' && !isAway(a.w, engine) ? ownBox(a) : undefined
  const w = dropBoxes(a.w, ({ id }) => id === box?.id)
  const decided = (what: string, change: Partial<Task>) =>
    step(a, what, a.go(w, { ...change, box: undefined, exit: undefined }))
  const verdict = verdictOf(marks(w, run))
  const moves: Moves = []
  if (verdict !== undefined && verdict.kind !== 'no_job') {
    const why = verdict.kind === 'finish' ? 'finish' : verdict.cause
    moves.push(...decided(`follows the log: ${why}`, byVerdict(verdict)))
  }
  if (run.deadline_at?.getTime() === PASSED.getTime()) {
    const cause = isAway(w, engine) ? 'engine_unavailable' : 'timeout'
    moves.push(...decided('sees the deadline', toEnd(cause)))
  }
  return moves
}

const openMoves = (a: Actor, run: Run): Moves => {
  const { at, box } = a.task
  if (at === 'read') return readLog(a, run)
  if (at === 'plan.find') return find(a)
  if (at === 'plan.token')
    return update(a, 'document: new token', run.restarts === 0 && box ? { restarts: 1 } : {}, {
      at: 'start.create',
      box: undefined,
    })
  if (at === 'open.cas')
    return update(a, 'document: running', { state: 'running', ...(box && { container_id: box }) }, { at: 'watch.exit' })
  if (at.startsWith('watch.')) return watch(a, run)
  return startMoves(a, run)
}

/** A heartbeat that finds the run with somebody else ends the handler, wherever it waits. */
export const beat = (a: Actor, run: Run): Moves => {
  const { attempt, owned } = a.task
  if (!owned || (run.attempt === attempt && LIVE.includes(run.state))) return []
  return step(a, 'heartbeat: somebody else owns the run', a.end(a.w, 'later'))
}

/** A job's handler up to the ending (src/scheduler/run-session.ts). */
export const jobMoves = (a: Actor, run: Run): Moves => [...openMoves(a, run), ...watchers(a, run)]

export const isOpening = (at: string): boolean => at === 'read' || WATCHING.test(at)
