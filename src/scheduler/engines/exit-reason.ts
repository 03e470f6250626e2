import type { SandboxExit } from '#contracts/run.ts'

/** Exit codes above this say "ended by signal code - 128" (POSIX shells, Docker); 64 is the last Linux signal. */
const SIGNAL_BASE = 128
const LAST_SIGNAL = 64

export const LOST: SandboxExit = { code: null, reason: 'lost' }

/**
 * How a container ended, from its exit code and the kernel's word on memory. A child that ran out of memory sets Docker's
 * flag too, so an exit with 0 is no OOM.
 */
export const exitFrom = (code: number, oomKilled: boolean): SandboxExit => {
  if (oomKilled && code !== 0) return { code, reason: 'oom' }
  const bySignal = code > SIGNAL_BASE && code <= SIGNAL_BASE + LAST_SIGNAL
  return { code, reason: bySignal ? 'killed' : 'exited' }
}
