import { clientMoves } from './client-moves.ts'
import { type Actor, endingMoves } from './ending-moves.ts'
import type { Model } from './explore.ts'
import { faultMoves, timeMoves } from './fault-moves.ts'
import { areAllFinished, brokenPromise, isAllGone } from './promises.ts'
import { passChoices, reconcileMoves } from './reconcile-moves.ts'
import { runnerMoves } from './runner-moves.ts'
import { createKeys } from './state-key.ts'
import { takeUpMoves } from './take-up-moves.ts'
import { beat, isOpening, jobMoves } from './worker-moves.ts'
import {
  jobOf,
  type Moves,
  offer,
  putJob,
  type Scope,
  type Task,
  type Worker,
  type WorkerKind,
  type World,
} from './world.ts'

const putWorker = (w: World, n: number, change: Partial<Worker>): World => ({
  ...w,
  workers: w.workers.map((worker, i) => (i === n ? { ...worker, ...change } : worker)),
})

const actorOf = (w: World, n: number, part: 'slot' | 'pass', task: Task, scope: Scope): Actor => ({
  who: part === 'slot' ? `worker ${n + 1}` : `reconcile ${n + 1}`,
  engine: w.workers[n]?.engine,
  task,
  w,
  scope,
  go: (next, change) => putWorker(next, n, { [part]: { ...task, ...change } }),
  end(next, how) {
    const free = putWorker(next, n, { [part]: undefined })
    if (part === 'pass') return free
    return how === 'later' ? offer(free, task.run_id) : putJob(free, task.run_id, { over: true })
  },
})

const taskMoves = (a: Actor): Moves => {
  const run = a.w.runs[a.task.run_id]
  const { at, why } = a.task
  if (run === undefined) throw new Error('a task without a run')
  const lost = why === 'job' || why === 'orphan' ? beat(a, run) : []
  if (at.startsWith('take.')) return takeUpMoves(a, run, why === 'job' ? 'read' : 'orphan.read')
  if (isOpening(at)) return [...jobMoves(a, run), ...lost]
  if (/^(end|finish|tidy|over)\b/.test(at)) return [...endingMoves(a, run), ...lost]
  return reconcileMoves(a, run)
}

const slotMoves = (w: World, n: number, scope: Scope): Moves => {
  const { slot, pass, only } = w.workers[n] as Worker
  if (slot !== undefined) return taskMoves(actorOf(w, n, 'slot', slot, scope))
  if (only === 'reconcile') return []
  return Object.keys(w.runs).flatMap((run_id): Moves => {
    const { waiting } = jobOf(w, run_id)
    if (waiting === 0 || pass?.run_id === run_id) return []
    const task: Task = { why: 'job', run_id, at: 'take.get' }
    const next = putWorker(putJob(w, run_id, { waiting: waiting - 1 }), n, { slot: task })
    return [{ who: `worker ${n + 1}`, kind: 'step', what: `is given the job of ${run_id}`, next }]
  })
}

const passMoves = (w: World, n: number, scope: Scope): Moves => {
  const worker = w.workers[n] as Worker
  const who = `reconcile ${n + 1}`
  if (worker.pass !== undefined) return taskMoves(actorOf(w, n, 'pass', worker.pass, scope))
  if (worker.only === 'jobs') return []
  return passChoices(w, scope, worker).map(({ what, task }) => ({
    who,
    kind: 'step' as const,
    what: `${what} (${task.run_id})`,
    next: putWorker(w, n, { pass: task }),
  }))
}

/** Everything that can happen next. */
export const movesOf =
  (scope: Scope) =>
  (w: World): Moves => [
    ...w.clients.flatMap((_, n) => clientMoves(w, n, scope)),
    ...w.workers.flatMap(({ asleep }, n) => (asleep ? [] : [...slotMoves(w, n, scope), ...passMoves(w, n, scope)])),
    ...w.boxes.flatMap((box) => runnerMoves(w, box, scope)),
    ...timeMoves(w, scope),
    ...faultMoves(w),
  ]

export type Case = Partial<Omit<Scope, 'off'>> & {
  readonly clients: readonly World['clients'][number]['wishes'][]
  readonly workers: readonly WorkerKind[]
  readonly faults?: World['faults']
}

export const scopeOf = (
  { tools = 0, late = [], queueLate = [], hintsLast = false }: Case,
  off?: Scope['off'],
): Scope => ({
  tools,
  late,
  queueLate,
  hintsLast,
  ...(off !== undefined && { off }),
})

export const initialWorld = ({ clients, workers, faults = {} }: Case): World => ({
  runs: {},
  logs: {},
  jobs: {},
  boxes: [],
  made: {},
  away: [],
  workers: workers.map((kind) => ({ ...kind, asleep: false })),
  clients: clients.map((wishes) => ({ wishes, at: 'accept', retries: 0 })),
  faults,
})

const GOALS: Model<World>['goals'] = {
  'every run can end, whatever stays broken': { kinds: ['step'], is: areAllFinished },
  'nothing is left once engines answer': { kinds: ['step', 'mend'], is: isAllGone },
}

/** The protocol in a small case, with one rule off or none. */
export const protocolModel = (of: Case, off?: Scope['off']): Model<World> => ({
  initial: initialWorld(of),
  moves: movesOf(scopeOf(of, off)),
  key: createKeys(),
  broken: brokenPromise,
  // Without reconcile a run may well wait for ever: such a case is about what must not happen.
  goals: of.workers.every(({ only }) => only === 'jobs') ? {} : GOALS,
})
