import { setTimeout as sleep } from 'node:timers/promises'
import { EngineError } from './engines/engine.ts'
import { OwnershipLost } from './worker-context.ts'

const FIRST_PAUSE_MS = 100
const LONGEST_PAUSE_MS = 2_000

/** How long what can wait leaves the machine to an agent that begins. */
export const CALM_MS = 50

/** Sleeps, or rejects with `signal.reason` as soon as that aborts. */
export const pause = async (ms: number, signal: AbortSignal): Promise<void> => {
  try {
    await sleep(ms, undefined, { signal })
  } catch {
    signal.throwIfAborted()
  }
}

/**
 * Calls `attempt` until it resolves, with growing pauses: for stores and engines that are away for a while. A lost
 * ownership and an aborted `signal` end it at once.
 */
export const untilDone = async <T>(
  attempt: () => Promise<T>,
  signal: AbortSignal,
  onError: (error: unknown) => void = () => {},
): Promise<T> => {
  for (let ms = FIRST_PAUSE_MS; ; ms = Math.min(ms * 2, LONGEST_PAUSE_MS)) {
    signal.throwIfAborted()
    try {
      return await attempt()
    } catch (error) {
      if (error instanceof OwnershipLost) throw error
      signal.throwIfAborted()
      onError(error)
    }
    await pause(ms, signal)
  }
}

/** What `work` comes to, or `undefined` after `ms`; then it goes on unheeded. Rejects as soon as `signal` aborts. */
export const within = async <T>(work: Promise<T>, ms: number, signal: AbortSignal): Promise<T | undefined> => {
  const scope = new AbortController()
  const timer = pause(ms, AbortSignal.any([signal, scope.signal])).then(() => undefined)
  try {
    return await Promise.race([work, timer])
  } finally {
    scope.abort()
  }
}

const isEngineAway = (error: unknown): boolean => error instanceof EngineError && error.failure === 'engine_unavailable'

/** Asks an engine again while it is away, for at most `patienceMs`; then its last error is thrown. Other errors at once. */
export const untilEngineAnswers = async <T>(
  attempt: () => Promise<T>,
  patienceMs: number,
  signal: AbortSignal,
): Promise<T> => {
  const end = Date.now() + patienceMs
  for (let ms = FIRST_PAUSE_MS; ; ms = Math.min(ms * 2, LONGEST_PAUSE_MS)) {
    signal.throwIfAborted()
    try {
      return await attempt()
    } catch (error) {
      if (!isEngineAway(error) || Date.now() >= end) throw error
    }
    await pause(ms, signal)
  }
}
