import { createProgress, type Progress } from './progress.ts'
import { createRecorder, type Recorder, type StopReason } from './recorder.ts'
import type { RunnerSetup } from './runner-setup.ts'
import { createRedactor, type Redactor } from './secrets.ts'

/** The worker ends a run at its deadline; a runner whose worker has not does so itself, this much later. */
const DEADLINE_GRACE_MS = 3_000

/** What setTimeout takes at most. */
const MAX_TIMER_MS = 2 ** 31 - 1

export type Stop = StopReason | 'deadline'

/** One run under way: what all its steps share. Disposing stops its timers. */
export type LiveRun = Disposable & {
  readonly setup: RunnerSetup
  readonly recorder: Recorder
  readonly redactor: Redactor
  readonly progress: Progress
  /** Aborts when the work must stop, for whatever reason. */
  readonly signal: AbortSignal
  readonly stopped: () => Stop | undefined
  readonly startedAt: number
}

/** The first reason stands, unless a later one forbids to write anything more. */
const createStop = (setup: RunnerSetup) => {
  const stop = new AbortController()
  let reason: Stop | undefined
  const stopWith = (why: Stop, detail?: string) => {
    if (why === 'cannot_store') setup.complain(`events cannot be stored: ${detail ?? 'no answer'}; leaving`)
    if (reason === undefined || why === 'finished' || why === 'cannot_store') reason = why
    stop.abort()
  }
  return { stopWith, signal: stop.signal, stopped: () => reason }
}

/** What people read of the process is as clean as what is stored. */
const cleanOutput = (setup: RunnerSetup, { clean }: Redactor): RunnerSetup => ({
  ...setup,
  say: (line) => setup.say(clean(line)),
  complain: (line) => setup.complain(clean(line)),
})

export const createLiveRun = (given: RunnerSetup): LiveRun => {
  const redactor = createRedactor(given.secrets)
  const setup = cleanOutput(given, redactor)
  const { stopWith, signal, stopped } = createStop(setup)
  const left = Date.parse(setup.job.deadline) + (setup.hasWorker ? DEADLINE_GRACE_MS : 0) - Date.now()
  const deadline = setTimeout(() => stopWith('deadline'), Math.min(Math.max(left, 0), MAX_TIMER_MS))
  const onTerminated = () => stopWith('ending')
  setup.terminated.addEventListener('abort', onTerminated)
  if (setup.terminated.aborted) onTerminated()
  const { sink } = setup
  return {
    setup,
    recorder: createRecorder({ run: setup.job, sink, redactor, onStop: stopWith, timings: setup.timings?.sink ?? {} }),
    redactor,
    progress: createProgress(),
    signal,
    stopped,
    startedAt: Date.now(),
    [Symbol.dispose]: () => {
      clearTimeout(deadline)
      setup.terminated.removeEventListener('abort', onTerminated)
    },
  }
}
