import type { Cause } from '#contracts/causes.ts'
import { eventIds, makeEvent, type NewEvent, type SessionEvent, type SessionEventOf } from '#contracts/events.ts'
import type { Run, SandboxExit } from '#contracts/run.ts'
import { isEnding, type LogState, planAppend } from '#store/append-plan.ts'
import type { AppendOptions, AppendResult, RunMarks } from '#store/event-log.ts'
import { marksOf } from '#store/marks.ts'
import type { Expect, RunPatch } from '#store/run-store.ts'
import type { Move } from './explore.ts'
import type { Rule } from './rules.ts'

/** Time stands still here: it is the dates of the documents that pass, by steps of their own. */
export const NOW = new Date('2100-01-01T00:00:00Z')
export const PASSED = new Date(0)
export const LATER = new Date(NOW.getTime() + 360_000)

/** The program in a container, by where it is; `leaving` = all is said, and the process still there. */
export type Runner = {
  readonly at: 'begin' | 'check' | 'work' | 'tool' | 'last' | 'leaving'
  /** Events numbered so far; tools begun. */
  readonly said: number
  readonly tools: number
  /** It has met `cancel_requested` or `stopping`. */
  readonly ending: boolean
  readonly code: number
}

export type Box = {
  readonly id: string
  readonly run_id: string
  readonly engine: string
  readonly state: 'created' | 'running' | 'exited'
  readonly code: number
  /** False: the engine knows it no more, though it may live on behind a partition. */
  readonly listed: boolean
  readonly term: boolean
  readonly line: boolean
  readonly runner: Runner
}

/** Somebody on the way through a piece of the protocol: `at` is the next call, the rest is what it remembers. */
export type Task = {
  readonly at: string
  readonly run_id: string
  /** What it is for: a job of the queue, or one of the things that reconcile or the API do. */
  readonly why: 'job' | 'orphan' | 'owed' | 'lost engine' | 'unserved' | 'stray'
  /** The attempt as it was read, or, once `owned`, as it was written. */
  readonly attempt?: number
  readonly state?: Run['state']
  readonly owned?: true
  readonly fresh?: boolean
  readonly agentStarted?: boolean
  readonly box?: string | undefined
  readonly cause?: Cause
  readonly says?: Cause
  readonly exit?: SandboxExit | undefined
  readonly tail?: number
  readonly lost?: boolean
}

/** What a case says of a worker; to leave things out keeps the case small. */
export type WorkerKind = {
  readonly engine: string
  /** It takes no jobs, or does not reconcile. */
  readonly only?: 'jobs' | 'reconcile'
  /** May it fall asleep, and will it wake? */
  readonly sleeps?: 'and wakes' | 'for good'
}

export type Worker = WorkerKind & {
  readonly asleep: boolean
  readonly slot?: Task | undefined
  readonly pass?: Task | undefined
}

export type Wish =
  | {
      readonly do: 'generate'
      readonly run_id: string
      readonly session_id: string
      readonly workspace_id: string
      readonly key?: string
    }
  | { readonly do: 'cancel'; readonly run_id: string }

/** A client's requests, one after the other, each as the API process that serves it. */
export type Client = {
  readonly wishes: readonly Wish[]
  readonly at: string
  /** The run that it is about just now, or that is in the way. */
  readonly run_id?: string | undefined
  /** What the API read of the run that is to be cancelled. */
  readonly seen?: { readonly attempt: number; readonly state: Run['state'] } | undefined
  readonly task?: Task | undefined
  readonly retries: number
}

export type Job = {
  readonly waiting: number /** A finished or given-up job that the queue still holds. */
  readonly over: boolean
}

export type FaultName =
  | 'crash'
  | 'sleep'
  | 'outage'
  | 'kill'
  | 'lose'
  | 'vanish'
  | 'forget'
  | 'double'
  | 'give up'
  | 'api dies'
  | 'no line'

/** A run that somebody has taken up. */
export const LIVE: readonly Run['state'][] = ['starting', 'running']

export type World = {
  readonly runs: Readonly<Record<string, Run>>
  readonly logs: Readonly<Record<string, readonly SessionEvent[]>>
  readonly jobs: Readonly<Record<string, Job>>
  readonly boxes: readonly Box[]
  /** Containers ever made, by run. */
  readonly made: Readonly<Record<string, number>>
  readonly away: readonly string[]
  readonly workers: readonly Worker[]
  readonly clients: readonly Client[]
  readonly faults: Readonly<Partial<Record<FaultName, number>>>
}

/** One small case: who is there, what may go wrong, and which rule is off. */
export type Scope = {
  readonly off?: Rule
  /** Tools that each runner uses. */
  readonly tools: number
  /** Runs whose deadline, or queue deadline, may pass. */
  readonly late: readonly string[]
  readonly queueLate: readonly string[]
  /** The API hints only once it has announced: what else the other order brings is seen in smaller cases. */
  readonly hintsLast?: boolean
}

export type Moves = Move<World>[]

export const is = (scope: Scope, rule: Rule): boolean => scope.off !== rule

// --- the store

export const logOf = (w: World, run: Pick<Run, 'session_id'>): readonly SessionEvent[] => w.logs[run.session_id] ?? []

export const marks = (w: World, run: Pick<Run, 'session_id' | 'run_id'>): RunMarks =>
  marksOf(logOf(w, run).filter((event) => event.run_id === run.run_id))

export const finishOf = (w: World, run: Run): SessionEventOf<'finish'> | undefined => marks(w, run).finish

const logState = (log: readonly SessionEvent[], runId: string): LogState => {
  const own = log.filter((event) => event.run_id === runId)
  const finish = own.find((event) => event.event_type === 'finish')
  return { seq: log.length, time: NOW.getTime(), finish, ending: own.some(isEnding) }
}

/** The one way into the log: the plan that every adapter carries out. */
export const append = (
  w: World,
  run: Run,
  events: readonly NewEvent[],
  options?: AppendOptions,
): { readonly w: World; readonly result: AppendResult } => {
  const log = logOf(w, run)
  const stored = new Map(log.map((event) => [event._id, event.seq]))
  const plan = planAppend(logState(log, run.run_id), stored, events, options)
  if (plan.events.length === 0) return { w, result: plan.result }
  return { w: { ...w, logs: { ...w.logs, [run.session_id]: [...log, ...plan.events] } }, result: plan.result }
}

/** What `announceRun` appends. */
export const announcement = (run: Run): NewEvent[] => [
  makeEvent(run, eventIds.userMessage(run.run_id), 'user_message', { message_id: 'm', content: '', source: 'client' }),
  makeEvent(run, eventIds.queued(run.run_id), 'run_state', { state: 'queued' }),
]

export const putRun = (w: World, run: Run): World => ({ ...w, runs: { ...w.runs, [run.run_id]: run } })

/** The compare-and-set of the run store; `undefined`: it failed. */
export const transition = (w: World, runId: string, expect: Expect, patch: RunPatch): World | undefined => {
  const run = w.runs[runId]
  if (run === undefined || run.attempt !== expect.attempt || !expect.from.includes(run.state)) return undefined
  return putRun(w, { ...run, ...patch })
}

/** Whether somebody who is awake owns the run: then signs of life keep coming. */
export const isOwned = (w: World, { run_id, attempt }: Run): boolean => {
  const owns = (task: Task | undefined) => task?.owned && task.run_id === run_id && task.attempt === attempt
  return (
    w.workers.some(({ asleep, slot, pass }) => !asleep && (owns(slot) || owns(pass))) ||
    w.clients.some(({ task }) => owns(task))
  )
}

// --- the queue

const NO_JOB: Job = { waiting: 0, over: false }

export const jobOf = (w: World, runId: string): Job => w.jobs[runId] ?? NO_JOB

export const putJob = (w: World, runId: string, patch: Partial<Job>): World => ({
  ...w,
  jobs: { ...w.jobs, [runId]: { ...jobOf(w, runId), ...patch } },
})

/** No more than two copies: a third tells nobody anything new. */
export const offer = (w: World, runId: string): World =>
  putJob(w, runId, { waiting: Math.min(2, jobOf(w, runId).waiting + 1), over: false })

export const enqueue = (scope: Scope, w: World, runId: string): World => {
  const { waiting, over } = jobOf(w, runId)
  const active = w.workers.some(({ asleep, slot }) => !asleep && slot?.run_id === runId)
  if (waiting > 0 || active) return w
  if (over && !is(scope, 'queue_forgets')) return w
  return putJob(w, runId, { waiting: 1, over: false })
}

// --- the engine

export const isAway = (w: World, engine: string): boolean => w.away.includes(engine)

/** The run's container as its engine knows it. */
export const boxOf = (w: World, engine: string, runId: string): Box | undefined =>
  w.boxes.find((box) => box.listed && box.engine === engine && box.run_id === runId)

export const putBox = (w: World, box: Box): World => ({
  ...w,
  boxes: w.boxes.map((other) => (other.id === box.id ? box : other)),
})

export const dropBoxes = (w: World, drop: (box: Box) => boolean): World => ({
  ...w,
  boxes: w.boxes.filter((box) => !drop(box)),
})

/** Between its `agent_start` and its last word, in a process that lives: what it does happens to the workspace. */
export const isAtWork = ({ state, runner }: Box): boolean =>
  state === 'running' && ['check', 'work', 'tool'].includes(runner.at)
