import { constants } from 'node:os'

const SIGNALS = ['SIGTERM', 'SIGINT', 'SIGHUP'] as const

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
 * does not want to wait. Disposing gives the signals back to Node.
 */
export const onShutdown = (say: (message: string) => void): Shutdown => {
  const controller = new AbortController()
  const { promise, resolve } = Promise.withResolvers<NodeJS.Signals>()
  const handle = (signal: NodeJS.Signals) => {
    if (controller.signal.aborted) process.exit(exitCodeOf(signal))
    say(`${signal}: finishing; once more ends it at once`)
    controller.abort(new Error(`${signal} received`))
    resolve(signal)
  }
  for (const signal of SIGNALS) process.on(signal, handle)
  return {
    signal: controller.signal,
    requested: promise,
    [Symbol.dispose]() {
      for (const signal of SIGNALS) process.off(signal, handle)
    },
  }
}
