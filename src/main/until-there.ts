import { setTimeout as sleep } from 'node:timers/promises'
import type { Logger } from 'pino'
import { EngineError } from '#scheduler/engines/engine.ts'
import { withoutCredentials } from './logger.ts'

const FIRST_PAUSE_MS = 500
const LONGEST_PAUSE_MS = 10_000

/** The same complaint again only after this long. */
const REPEAT_MS = 60_000

export const reasonOf = (error: unknown): string => {
  if (error instanceof EngineError) return `${error.message}. ${error.remediation}`
  if (error instanceof AggregateError && error.errors.length > 0) return reasonOf(error.errors[0])
  return withoutCredentials(error instanceof Error ? error.message : String(error)).split('\n')[0] ?? ''
}

/**
 * Tries until it works, and says in one line what is missing: a service that is down when we start is no reason to die and be
 * restarted for ever. Rejects with `signal.reason` when that aborts.
 */
export const untilThere = async <T>(
  what: string,
  attempt: () => Promise<T>,
  { log, signal }: { readonly log: Pick<Logger, 'warn' | 'info'>; readonly signal: AbortSignal },
): Promise<T> => {
  let said = { reason: '', at: 0 }
  for (let pause = FIRST_PAUSE_MS; ; pause = Math.min(pause * 2, LONGEST_PAUSE_MS)) {
    signal.throwIfAborted()
    try {
      const there = await attempt()
      if (said.at > 0) log.info(`${what}: there now`)
      return there
    } catch (error) {
      const reason = reasonOf(error)
      if (reason !== said.reason || Date.now() - said.at > REPEAT_MS) {
        log.warn(`waiting for ${what}: ${reason}`)
        said = { reason, at: Date.now() }
      }
    }
    await sleep(pause, undefined, { signal }).catch(() => {})
  }
}
