import { relative } from 'node:path'
import { type ExecuteOptions, execute } from './execute.ts'
import { ROOT } from './imports.ts'
import { usesRealParts } from './needs.ts'
import type { Tally } from './tally.ts'

/** More failing files than this are no accident of a busy machine. */
const AT_MOST = 4

/**
 * Files that failed on real servers or containers run once more, alone: a shared machine of two cores now and then refuses what it
 * would do a minute later (runc cannot freeze a busy cgroup, say). What passes then is reported as flaky, to be looked into. A file
 * without such parts gets no second try: its order of things is its own, and what it found is found.
 * @returns the tallies that count
 */
export const secondTry = async (
  tallies: ReadonlyMap<string, Tally>,
  options: ExecuteOptions,
): Promise<ReadonlyMap<string, Tally>> => {
  const failed = [...tallies].filter(([, { failed }]) => failed > 0).map(([file]) => file)
  if (failed.length === 0 || failed.length > AT_MOST || options.signal.aborted) return tallies
  const again = failed.filter(usesRealParts)
  if (again.length === 0) return tallies
  console.log(`\nonce more, alone: ${again.map((file) => relative(ROOT, file)).join(', ')}\n`)
  const second = await execute(again, { ...options, concurrency: 1 })
  const flaky = again.filter((file) => second.get(file)?.failed === 0)
  if (flaky.length > 0) {
    console.log(`\nFLAKY (failed, then passed alone; the first failure is above):`)
    for (const file of flaky) console.log(`  ${relative(ROOT, file)}`)
  }
  return new Map([...tallies, ...second])
}
