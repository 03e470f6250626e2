import { NEW_RUNNER } from './runner-moves.ts'
import {
  type FaultName,
  jobOf,
  LATER,
  type Moves,
  offer,
  PASSED,
  putBox,
  putJob,
  putRun,
  type Scope,
  type Worker,
  type World,
} from './world.ts'

/** One fault less to come. */
const spend = (w: World, name: FaultName): World => ({
  ...w,
  faults: { ...w.faults, [name]: (w.faults[name] ?? 0) - 1 },
})

const may = (w: World, name: FaultName): boolean => (w.faults[name] ?? 0) > 0

const fault = (w: World, name: FaultName, who: string, what: string, next: (w: World) => World): Moves =>
  may(w, name) ? [{ who, kind: 'fault', what, next: next(spend(w, name)) }] : []

const putWorker = (w: World, n: number, worker: Worker): World => ({
  ...w,
  workers: w.workers.map((other, i) => (i === n ? worker : other)),
})

/** What its slot worked on is offered to others: the queue's lock runs out. */
const giveBack = (w: World, { slot }: Worker): World => (slot === undefined ? w : offer(w, slot.run_id))

const workerFaults = (w: World): Moves =>
  w.workers.flatMap((worker, n): Moves => {
    const who = `worker ${n + 1}`
    const { slot, pass, ...rest } = worker
    const put = (next: World, change: Partial<Worker>) => putWorker(next, n, { ...worker, ...change })
    if (worker.asleep) {
      if (worker.sleeps !== 'and wakes') return []
      return [{ who, kind: 'mend', what: 'wakes', next: put(w, { asleep: false }) }]
    }
    const busy = slot !== undefined || pass !== undefined
    const dies = (next: World) => putWorker(giveBack(next, worker), n, rest)
    const sleeps = (next: World) => put(giveBack(next, worker), { asleep: true })
    return [
      ...(busy ? fault(w, 'crash', who, 'dies, and begins anew', dies) : []),
      ...(worker.sleeps
        ? fault(w, 'sleep', who, `falls asleep${worker.sleeps === 'for good' ? ' for good' : ''}`, sleeps)
        : []),
    ]
  })

const boxFaults = (w: World): Moves =>
  w.boxes.flatMap((box): Moves => {
    const who = `container ${box.id}`
    if (box.state !== 'running' || !box.listed) return []
    const unread = box.line && box.runner === NEW_RUNNER
    return [
      ...fault(w, 'kill', who, 'is killed', (next) => putBox(next, { ...box, state: 'exited', code: 137 })),
      ...fault(w, 'lose', who, 'is lost: it lives on unseen', (next) => putBox(next, { ...box, listed: false })),
      ...fault(w, 'vanish', who, 'is removed by somebody', (next) => ({
        ...next,
        boxes: next.boxes.filter((other) => other !== box),
      })),
      ...(unread
        ? fault(w, 'no line', who, 'does not get its job line', (next) => putBox(next, { ...box, line: false }))
        : []),
    ]
  })

const queueFaults = (w: World): Moves =>
  Object.keys(w.runs).flatMap((runId): Moves => {
    const { waiting } = jobOf(w, runId)
    if (waiting === 0) return []
    return [
      ...fault(w, 'forget', 'queue', `forgets ${runId}`, (next) => putJob(next, runId, { waiting: 0 })),
      ...fault(w, 'double', 'queue', `doubles ${runId}`, (next) => offer(next, runId)),
      ...fault(w, 'give up', 'queue', `gives ${runId} up`, (next) => putJob(next, runId, { waiting: 0, over: true })),
    ]
  })

const engineFaults = (w: World): Moves =>
  [...new Set(w.workers.map(({ engine }) => engine))].flatMap((engine): Moves => {
    const who = `engine ${engine}`
    if (w.away.includes(engine)) {
      return [
        { who, kind: 'mend', what: 'answers again', next: { ...w, away: w.away.filter((one) => one !== engine) } },
      ]
    }
    return fault(w, 'outage', who, 'does not answer any more', (next) => ({
      ...next,
      away: [...next.away, engine].sort(),
    }))
  })

/** Time passes: it needs nobody, and is no fault. */
export const timeMoves = (w: World, scope: Scope): Moves =>
  Object.values(w.runs).flatMap((run): Moves => {
    const passes = (field: 'deadline_at' | 'queue_deadline_at' | 'quarantine_until', what: string): Moves => [
      {
        who: 'time',
        kind: 'step',
        what: `${what} of ${run.run_id} passes`,
        next: putRun(w, { ...run, [field]: PASSED }),
      },
    ]
    const { deadline_at, queue_deadline_at, quarantine_until, state } = run
    const over = state === 'finished'
    // A quarantine is longer than a runner lives that can store nothing (rule 11); else it meets `finish` at its next append.
    const lives =
      scope.off !== 'quarantine' && w.boxes.some((box) => box.run_id === run.run_id && box.state === 'running')
    return [
      ...(!over && scope.late.includes(run.run_id) && deadline_at && deadline_at !== PASSED
        ? passes('deadline_at', 'the deadline')
        : []),
      ...(state === 'queued' && scope.queueLate.includes(run.run_id) && queue_deadline_at !== PASSED
        ? passes('queue_deadline_at', 'the queue deadline')
        : []),
      ...(quarantine_until?.getTime() === LATER.getTime() && !lives
        ? passes('quarantine_until', 'the quarantine')
        : []),
    ]
  })

export const faultMoves = (w: World): Moves => [
  ...workerFaults(w),
  ...boxFaults(w),
  ...queueFaults(w),
  ...engineFaults(w),
]
