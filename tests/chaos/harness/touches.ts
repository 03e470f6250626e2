import type { Run } from '#contracts/run.ts'
import type { RunEvidence } from './evidence.ts'
import type { Struck } from './inflict.ts'
import type { Channel } from './plan.ts'

/** What the faults that struck a run mean for it. Pure. */
export type Touches = {
  /**
   * Its end may be another one than its own. A runner tries four times in seven seconds to reach its model: on a slow machine a cut
   * may last longer.
   */
  isTouched(run: Run): boolean
  /** What only Docker knew of its container may be lost. */
  excuse(run: Run): RunEvidence['excused']
}

export type TouchesOptions = {
  readonly struck: readonly Struck[]
  readonly channel: Channel
  /** When the harness began: faults count from there. */
  readonly since: number
  readonly liveRestore: boolean
}

/** Causes that say that nobody could ask Docker. */
const UNASKED = new Set(['container_lost', 'engine_unavailable', 'worker_lost'])

/** A Docker that was away at the wrong moment could not say. */
const isUnasked = ({ result }: Run): boolean => UNASKED.has(result?.cause ?? '')

export const createTouches = ({ struck, channel, since, liveRestore }: TouchesOptions): Touches => {
  const during = (run: Run, end = run.finished_at) => {
    const from = run.created_at.getTime() - since
    const to = (end ?? new Date()).getTime() - since
    return struck.filter(({ at, until }) => until >= from && at <= to)
  }
  // Until its container was gone: who asks for its exit comes after its `finish`.
  const deathsOfDocker = (run: Run) => during(run, run.seen_at).filter(({ kind }) => kind === 'dockerd.kill')
  const bereft = (run: Run) => deathsOfDocker(run).length > 0
  const taken = (run: Run) => (run.started_at ?? run.created_at).getTime() - since
  const bereftTwice = (run: Run) => deathsOfDocker(run).filter(({ until }) => until >= taken(run)).length > 1
  // Its agent was done before Docker was back: the container, which ends after it, was over by then.
  const endedUnseen = (run: Run) => {
    const end = (run.finished_at?.getTime() ?? 0) - since
    return deathsOfDocker(run).some(({ until }) => end <= until)
  }
  const cutOff = (run: Run) =>
    run.result?.cause === 'agent_error' &&
    during(run).some((fault) => fault.kind === 'model.cut' && fault.channel === channel)
  const full = (run: Run) => during(run).some((fault) => fault.kind === 'disk.fill' && fault.channel === channel)
  const hit = (run: Run) => struck.filter(({ runs }) => runs.includes(run.run_id))
  return {
    isTouched: (run) =>
      hit(run).length > 0 || full(run) || cutOff(run) || (bereft(run) && (!liveRestore || isUnasked(run))),
    excuse: (run) => {
      const removed = hit(run).some(({ kind }) => kind === 'container.remove')
      // It came back without sight of a container that outlived it (docker-wait.ts): no exit of that is kept. Without live-restore
      // the one that comes back ends it and says how: unless it was over by then, or that Docker was killed in its turn.
      const unsaid = run.exit === undefined && (liveRestore || bereftTwice(run) || endedUnseen(run))
      const unseen = bereft(run) && (isUnasked(run) || unsaid)
      return { exit: removed || unseen, output: removed || bereft(run) }
    },
  }
}
