import { constants } from 'node:os'

const SIGNALS = ['SIGTERM', 'SIGINT', 'SIGHUP'] as const

/**
 * How long an orderly end may take, milliseconds: docker-compose.yml and Kubernetes kill after 30 s at the earliest, and say less. An engine
 * or store that is away can hold it up for minutes; what is not handed back by then is adopted, as after a crash.
 */
const LEAVE_MS = 27_000

/** As a shell reports a process that a signal ended. */
const exitCodeOf = (signal: NodeJS.Signals): number => 128 + constants.signals[signal]

export type Shutdown = Disposable & {
  /** Aborts at the first signal: drain and leave. */
  readonly signal: AbortSignal
  /** Resolves at the first signal. */
  readonly requested: Promise<NodeJS.Signals>
}

/**
 * The first SIGTERM, SIGINT or SIGHUP asks for an orderly end, the second ends the process at once, because whoever sends it
 * does not want to wait, and so does an end that takes longer than `leaveMs`. Disposing gives the signals back to Node.
 */
export const onShutdown = (say: (message: string) => void, leaveMs = LEAVE_MS): Shutdown => {
  const controller = new AbortController()
  const { promise, resolve } = Promise.withResolvers<NodeJS.Signals>()
  let late: NodeJS.Timeout | undefined
  const giveUp = (signal: NodeJS.Signals) => {
    say(`not done ${leaveMs / 1000} s after ${signal}: leaving the rest to the next process`)
    process.exit(exitCodeOf(signal))
  }
  const handle = (signal: NodeJS.Signals) => {
    if (controller.signal.aborted) process.exit(exitCodeOf(signal))
    say(`${signal}: finishing; once more ends it at once`)
    late = setTimeout(giveUp, leaveMs, signal).unref()
    controller.abort(new Error(`${signal} received`))
    resolve(signal)
  }
  for (const signal of SIGNALS) process.on(signal, handle)
  return {
    signal: controller.signal,
    requested: promise,
    [Symbol.dispose]() {
      clearTimeout(late)
      for (const signal of SIGNALS) process.off(signal, handle)
    },
  }
}
