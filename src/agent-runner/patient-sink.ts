import type { NewEvent } from '#contracts/events.ts'
import { backOff, pause } from './pause.ts'
import { type EventSink, SinkRefused, type SinkResult } from './sinks/event-sink.ts'

/** Milliseconds. */
export type SinkTimings = {
  /** One try. A gateway that hangs holds a connection open for ever. */
  readonly attempt: number
  readonly firstPause: number
  readonly maxPause: number
  /** Nothing could be stored for this long: no model step begins. */
  readonly hold: number
  /** Nothing could be stored for this long: the runner leaves (design section 6, rule 11). */
  readonly giveUp: number
}

export const SINK_TIMINGS: SinkTimings = {
  attempt: 15_000,
  firstPause: 100,
  maxPause: 2_000,
  hold: 60_000,
  giveUp: 300_000,
}

/** A sink that tries again until a batch is stored. */
export type PatientSink = {
  /** `undefined`: given up, or closed. One call at a time. */
  store(events: NewEvent[], unlessEnding: boolean): Promise<SinkResult | undefined>
  /** Resolves once the sink is not failing for `hold` or longer, or is closed, or `signal` aborts. */
  ready(signal: AbortSignal): Promise<void>
  close(): void
}

/** The driver of a database may hang without an end of its own: a try is over after `ms` whatever it does. */
const within = async <T>(ms: number, action: (signal: AbortSignal) => Promise<T>): Promise<T> => {
  const timeout = Promise.withResolvers<never>()
  const controller = new AbortController()
  const timer = setTimeout(() => {
    const error = new Error(`no answer within ${ms} ms`)
    controller.abort(error)
    timeout.reject(error)
  }, ms)
  try {
    return await Promise.race([action(controller.signal), timeout.promise])
  } finally {
    clearTimeout(timer)
  }
}

/** @param onGiveUp called once, when nothing could be stored for `giveUp`, or never can be */
export const createPatientSink = (
  sink: EventSink,
  timings: SinkTimings,
  onGiveUp: (detail: string) => void,
): PatientSink => {
  const closed = new AbortController()
  let failingSince: number | undefined
  let changed = Promise.withResolvers<void>()

  const close = () => {
    closed.abort()
    changed.resolve()
  }

  const failed = (error: unknown) => {
    failingSince ??= Date.now()
    if (!(error instanceof SinkRefused) && Date.now() - failingSince < timings.giveUp) return
    close()
    onGiveUp(error instanceof Error ? error.message : String(error))
  }

  const store: PatientSink['store'] = async (events, unlessEnding) => {
    for (let n = 0; !closed.signal.aborted; n++) {
      try {
        const result = await within(timings.attempt, (signal) => sink.append(events, { unlessEnding }, signal))
        failingSince = undefined
        changed.resolve()
        changed = Promise.withResolvers()
        return result
      } catch (error) {
        failed(error)
        await pause(backOff(n, timings.firstPause, timings.maxPause), closed.signal)
      }
    }
    return undefined
  }

  const ready: PatientSink['ready'] = async (signal) => {
    const aborted = Promise.withResolvers<void>()
    const onAbort = () => aborted.resolve()
    signal.addEventListener('abort', onAbort, { once: true })
    const holds = () => failingSince !== undefined && Date.now() - failingSince >= timings.hold
    while (holds() && !closed.signal.aborted && !signal.aborted) await Promise.race([changed.promise, aborted.promise])
    signal.removeEventListener('abort', onAbort)
  }

  return { store, ready, close }
}
