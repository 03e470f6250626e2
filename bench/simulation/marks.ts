import type { RunStore } from '#store/run-store.ts'
import type { Store } from '#store/store.ts'

/** When what happened to one run, milliseconds since the epoch, by the clock of this machine. */
export type Marks = {
  readonly run_id: string
  readonly session_id: string
  /** The API's, in the document. */
  readonly accepted: number
  /** The take-up was stored. */
  readonly taken: number
  /** The engine was asked to start; absent: it never was. */
  asked?: number
  /** The engine said that it runs (or that it cannot). */
  started?: number
  /** That is stored and said in the log, and the output is being read. */
  opened?: number
  /** The container was over. */
  exited?: number
  /** What the simulated engine meant to take for start and removal, milliseconds; 0 where nothing was there to remove. */
  startMs: number
  removeMs: number
  /** Containers that were made for it: more than one would be a run that is done twice. */
  starts: number
  /** The document was finished: the last thing that is done to a run. */
  settled: number
}

/** What is ours of one run's life, milliseconds. */
export type Overhead = {
  /** Accepted → taken up. */
  readonly wait: number
  /** Taken up → the engine is asked. */
  readonly prepare: number
  /** The engine has started it → stored and said; with what the answer was late. */
  readonly open: number
  /** The container is over → the run is finished, stored and tidied up. */
  readonly end: number
  readonly all: number
}

/** Monotonic within a process, finer than a millisecond, comparable with the other processes of this machine. */
export const now = (): number => performance.timeOrigin + performance.now()

/** The life of the run without what engine and agent took. Pure. */
export const overheadOf = (marks: Marks): Overhead => {
  const { accepted, taken, settled, startMs, removeMs } = marks
  const asked = marks.asked ?? settled
  const started = marks.started ?? asked
  const opened = marks.opened ?? started
  // A failed start took its time as well, and left nothing to remove.
  const over = marks.exited ?? started
  const wait = taken - accepted
  const prepare = asked - taken
  const open = Math.max(0, started - asked - startMs) + (opened - started)
  const end = settled - Math.max(over, opened) - removeMs
  return { wait, prepare, open, end, all: wait + prepare + open + end }
}

/** Notes what becomes of each run, beside the store and the engine. */
export type Notes = {
  note(runId: string, at: 'asked' | 'started' | 'opened' | 'exited'): void
  /** How long the engine means to take. */
  means(runId: string, what: 'startMs' | 'removeMs', ms: number): void
  watch(store: Store): Store
}

/** @param tell is given each run that this process has finished */
export const createNotes = (tell: (marks: Marks) => void): Notes => {
  const live = new Map<string, Marks>()
  const transition: (runs: RunStore) => RunStore['transition'] = (runs) => async (runId, expect, patch) => {
    const run = await runs.transition(runId, expect, patch)
    if (run === undefined) return run
    if (patch.state === 'starting') {
      const { run_id, session_id, created_at } = run
      const known = { accepted: created_at.getTime(), taken: now(), startMs: 0, removeMs: 0, starts: 0, settled: 0 }
      live.set(runId, live.get(runId) ?? { run_id, session_id, ...known })
    }
    const marks = live.get(runId)
    if (patch.state === 'finished' && marks !== undefined) {
      live.delete(runId)
      tell({ ...marks, settled: now() })
    }
    return run
  }
  return {
    note(runId, at) {
      const marks = live.get(runId)
      if (marks === undefined) return
      marks[at] ??= now()
      if (at === 'asked') marks.starts += 1
    },
    means(runId, what, ms) {
      const marks = live.get(runId)
      if (marks !== undefined) marks[what] = ms
    },
    watch: (store) => ({ ...store, runs: { ...store.runs, transition: transition(store.runs) } }),
  }
}
