import { createBackOff } from './back-off.ts'

export type SingleFlightOptions = {
  /** True = there is more to do at once. */
  readonly work: () => Promise<boolean>
  readonly signal: AbortSignal
  /** Pauses after failures grow up to this, milliseconds. */
  readonly maxPauseMs: number
  readonly onError: (error: unknown) => void
}

/**
 * One `work` at a time, however often it is asked for: asked meanwhile, it runs once more. After a failure it tries again
 * until it succeeds or the signal aborts. What it returns resolves when nothing is left to do; it never rejects.
 */
export const createSingleFlight = ({ work, signal, maxPauseMs, onError }: SingleFlightOptions) => {
  let running: Promise<void> | undefined
  let again = false
  const run = async () => {
    const backOff = createBackOff({ maxMs: maxPauseMs, signal })
    while (again && !signal.aborted) {
      again = false
      try {
        again = (await work()) || again
      } catch (error) {
        if (signal.aborted) break
        again = true
        onError(error)
        await backOff.wait()
      }
    }
    // Here and not when the promise settles: who asks in between would be forgotten.
    running = undefined
  }
  return (): Promise<void> => {
    again = true
    running ??= run()
    return running ?? Promise.resolve()
  }
}
