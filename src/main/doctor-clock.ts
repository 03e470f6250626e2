import { type Finding, failure, ok, warning } from './doctor-report.ts'

/** Deadlines and leases are compared across machines: seconds matter. */
const NOTICEABLE_MS = 2_000
const HARMFUL_MS = 10_000

/** How far the clock of another service is from ours; the call itself took part of it. */
export const clockFinding = (check: string, theirs: Date): Finding => {
  const skew = theirs.getTime() - Date.now()
  const says = `${Math.abs(Math.round(skew))} ms ${skew < 0 ? 'behind' : 'ahead'}`
  const remedy = 'Let both machines keep time (chrony, systemd-timesyncd).'
  if (Number.isNaN(skew) || Math.abs(skew) > HARMFUL_MS) return failure(check, says, remedy)
  return Math.abs(skew) > NOTICEABLE_MS ? warning(check, says, remedy) : ok(check, says)
}
