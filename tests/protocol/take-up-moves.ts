import type { Run } from '#contracts/run.ts'
import { refusesTakeUp, takeUpPatch, waitForBlockers } from '#scheduler/take-up-rules.ts'
import { type Actor, step } from './ending-moves.ts'
import { is, isOwned, type Moves, NOW, type Task, transition } from './world.ts'

const RETRY_MS = 1

/** The take-up: document, blockers, compare-and-set. */
export const takeUpMoves = (a: Actor, run: Run, then: string): Moves => {
  const { scope, w, task, engine = '' } = a
  const later = (what: string) => step(a, what, a.end(w, 'later'))
  switch (task.at) {
    case 'take.get': {
      const seen =
        is(scope, 'engine_in_the_take_up') || run.engine_id === undefined ? run : { ...run, engine_id: engine }
      const refusal = refusesTakeUp(seen, engine, !isOwned(w, run))
      if (refusal === 'over') return step(a, 'runs.get: finished', a.end(w, 'done'))
      if (refusal !== undefined) return later(`runs.get: ${refusal}`)
      const at = run.engine_id === undefined ? 'take.blockers' : 'take.cas'
      return step(
        a,
        `runs.get: ${run.state}, attempt ${run.attempt}`,
        a.go(w, { at, attempt: run.attempt, state: run.state }),
      )
    }
    case 'take.blockers': {
      const blockers = Object.values(w.runs).filter(
        (other) =>
          other.run_id !== run.run_id &&
          !other.container_gone &&
          (other.session_id === run.session_id || other.workspace_id === run.workspace_id),
      )
      const wait = is(scope, 'blockers_elsewhere') ? waitForBlockers(blockers, engine, NOW, RETRY_MS) : 0
      return wait > 0 ? later('runs.blockers: must wait') : step(a, 'runs.blockers: none', a.go(w, { at: 'take.cas' }))
    }
    default: {
      const { attempt = -1, state = 'queued' } = task
      const fresh = state === 'queued'
      const taker = { owner: 'worker', engineId: engine, now: NOW, taskTimeoutSeconds: 1800 }
      const patch = takeUpPatch(run, taker, undefined)
      const taken = transition(w, run.run_id, { attempt, from: [state] }, patch)
      if (taken === undefined) return later('take-up: somebody was quicker')
      const mine: Partial<Task> = { at: then, attempt: attempt + 1, fresh, owned: true }
      return step(a, `take-up: attempt ${attempt + 1} on ${engine}`, a.go(taken, mine))
    }
  }
}
