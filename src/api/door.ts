import type { FastifyBaseLogger } from 'fastify'
import { MgxError } from '#contracts/errors.ts'
import type { NewRun } from '#contracts/run.ts'
import type { RunStore } from '#store/run-store.ts'
import type { Pace } from './pace.ts'
import { createWaitingCount } from './waiting-count.ts'

export type DoorLimits = {
  /** Runs that may wait for a worker, in the installation and of one tenant. */
  readonly maxQueuedRuns: number
  readonly maxQueuedRunsPerTenant: number
}

export type Door = {
  /**
   * Lets a run in, or throws QUEUE_FULL. The caller says afterwards whether the run was stored. An idempotency key that is known
   * is always let in: nothing new comes of it.
   */
  enter(run: NewRun): Promise<(stored: boolean) => void>
}

export type DoorDeps = {
  readonly runs: RunStore
  readonly limits: DoorLimits
  readonly pace: Pace
  readonly log: FastifyBaseLogger
}

/** How old the count may be while the line is short, when it is getting long, and when somebody is refused because of it. */
const COUNT_MS = { short: 1_000, long: 250, refuse: 50 }

/** Bounds of Retry-After, seconds; and what it says when nothing is known of the pace. */
const RETRY = { least: 1, most: 60, unknown: 5 }

/** Up to twice the time that the line takes for one run: a crowd that was refused must not come back as one. */
const retryAfter = (secondsPerRun: number | undefined): number => {
  if (secondsPerRun === undefined) return RETRY.unknown
  return Math.min(RETRY.most, Math.max(RETRY.least, Math.ceil(secondsPerRun * (1 + Math.random()))))
}

/**
 * Back-pressure. This process never lets more in than may wait; other processes' runs it sees at its next count, so that
 * together they may exceed the limit by what the others accept in a second.
 */
export const createDoor = ({ runs, limits, pace, log }: DoorDeps): Door => {
  const count = createWaitingCount(() => runs.countWaiting())
  const fill = (tenantId: string): number =>
    Math.max(count.total() / limits.maxQueuedRuns, count.of(tenantId) / limits.maxQueuedRunsPerTenant)

  const look = async (tenantId: string): Promise<void> => {
    if (count.age() === Infinity || fill(tenantId) > 0.5) return count.refresh(COUNT_MS.long)
    count.refresh(COUNT_MS.short).catch((err: unknown) => log.warn({ err }, 'the waiting runs could not be counted'))
  }

  const refuse = async (tenantId: string): Promise<MgxError> => {
    const whole = count.total() >= limits.maxQueuedRuns
    const waiting = whole ? count.total() : count.of(tenantId)
    const of = whole ? 'in this installation' : 'of this tenant'
    const error = new MgxError('QUEUE_FULL', 'Too many runs wait already.', `${waiting} runs ${of} wait for a worker`)
    error.retryAfterSeconds = retryAfter(await pace.secondsPerRun())
    return error
  }

  return {
    async enter(run) {
      const { tenant_id, idempotency_key } = run
      await look(tenant_id)
      if (fill(tenant_id) >= 1) await count.refresh(COUNT_MS.refuse)
      if (fill(tenant_id) >= 1) {
        const known = idempotency_key !== undefined && (await runs.byKey(tenant_id, idempotency_key))
        if (!known) throw await refuse(tenant_id)
        return () => {}
      }
      return count.add(tenant_id)
    },
  }
}
