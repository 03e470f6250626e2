import { setTimeout as sleep } from 'node:timers/promises'
import type { EgressTarget } from '#contracts/egress.ts'
import { eventIds, makeEvent } from '#contracts/events.ts'
import type { GatewayRun } from '#contracts/run.ts'
import type { EventLog } from '#store/event-log.ts'
import type { RefusalReason } from './egress-guard.ts'
import { untilDone } from './patience.ts'

/** Different targets of one run that the log names; a scan of all ports is not worth more. */
const MAX_TARGETS = 50

/** The agent hears of its refusal behind the event, but does not wait for a store that is away. */
const STORE_MS = 2_000

export type Refusals = { record(target: EgressTarget, reason: RefusalReason, says: string): Promise<void> }

/** 1, 10, 100, …: what is tried again and again is said again at each power of ten. */
const isWorthSaying = (count: number): boolean => /^10*$/.test(String(count))

/**
 * Writes refused connections of one run into its log, one event for each target and reason and for each power of ten of its
 * attempts. Ids are made of what happened, so a worker that adopts the run writes nothing twice; nothing follows `finish`.
 */
export const createRefusals = (events: EventLog, run: GatewayRun, signal: AbortSignal): Refusals => {
  const counts = new Map<string, number>()
  const write = (target: EgressTarget, reason: RefusalReason, says: string, count: number) => {
    const id = eventIds.egressRefused(run.run_id, reason, `${target.host}:${target.port}`, count)
    const event = makeEvent(run, id, 'egress_refused', { ...target, reason, message: says, count })
    return untilDone(() => events.append(run.session_id, [event]), signal).then(() => undefined)
  }
  return {
    record: async (target, reason, says) => {
      const key = `${reason} ${target.host}:${target.port}`
      if (!counts.has(key) && counts.size >= MAX_TARGETS) return
      const count = (counts.get(key) ?? 0) + 1
      counts.set(key, count)
      if (!isWorthSaying(count)) return
      // An append that fails for good fails because the run is over here: its next owner refuses, and says so, again.
      const written = write(target, reason, says, count).catch(() => undefined)
      await Promise.race([written, sleep(STORE_MS, undefined, { ref: false })])
    },
  }
}
