import type { Run } from '#contracts/run.ts'
import type { RunPatch } from '#store/run-store.ts'
import { pause, untilDone } from './patience.ts'
import { OwnershipLost, type WorkerContext } from './worker-context.ts'

/** The run as its owner holds it: every change is a compare-and-set on the attempt, and the first that fails is the last. */
export type OwnedRun = {
  /** The document as last written by this owner. */
  readonly run: Run
  /** Aborts with `OwnershipLost` once somebody else has taken the run up. */
  readonly lost: AbortSignal
  /** Every change is a sign of life as well. Retries while the store is away. Throws `OwnershipLost`. */
  update(patch: RunPatch): Promise<Run>
  /**
   * The last sign of life: the next worker may take the run up at once. Where the store does not answer soon, that one
   * waits until the sign before has grown old.
   */
  handBack(): Promise<void>
} & AsyncDisposable

const LIVE = ['starting', 'running'] as const

/** How long a worker that shuts down waits for the store, milliseconds. */
const HAND_BACK_MS = 2_000

/** Begins to say regularly that the owner lives; disposing ends that, and nothing else. */
export const holdRun = (ctx: WorkerContext, taken: Run): OwnedRun => {
  const lost = new AbortController()
  const silent = new AbortController()
  const over = new AbortController()
  let run = taken
  let last: Promise<unknown> = Promise.resolve()

  const change = async (patch: RunPatch): Promise<Run> => {
    lost.signal.throwIfAborted()
    over.signal.throwIfAborted()
    const expect = { attempt: run.attempt, from: LIVE }
    const after = await ctx.store.runs.transition(run.run_id, expect, { seen_at: new Date(), ...patch })
    if (after === undefined) {
      const error = new OwnershipLost(run.run_id)
      lost.abort(error)
      throw error
    }
    run = after
    return after
  }

  /** One after the other: answers that overtake each other would bring an older document back. */
  const inTurn = (patch: RunPatch): Promise<Run> => {
    const turn = last.then(() => change(patch))
    last = turn.catch(() => {})
    return turn
  }

  const beat = async (signal: AbortSignal): Promise<void> => {
    for (;;) {
      await pause(ctx.config.timings.heartbeat, signal)
      await inTurn({}).catch((error: unknown) => {
        ctx.log.debug({ err: error, run_id: run.run_id }, 'sign of life not stored')
      })
    }
  }
  beat(AbortSignal.any([lost.signal, silent.signal, over.signal])).catch(() => {})

  const update = (patch: RunPatch) => untilDone(() => inTurn(patch), AbortSignal.any([lost.signal, over.signal]))

  return {
    get run() {
      return run
    },
    lost: lost.signal,
    update,
    async handBack() {
      silent.abort()
      await Promise.race([update({ seen_at: new Date(0) }), pause(HAND_BACK_MS, over.signal)])
    },
    async [Symbol.asyncDispose]() {
      over.abort()
    },
  }
}
