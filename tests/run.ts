/**
 * The whole of `make test`: `node tests/run.ts [filter...]`, where a filter is a file or a part of its path.
 * Its last line is always `N passed, N failed, N skipped`; exit code 1 when a test failed or none ran.
 */
import { startCluster } from './runner/cluster.ts'
import { execute } from './runner/execute.ts'
import { needsOf } from './runner/needs.ts'
import { secondTry } from './runner/second-try.ts'
import { groupsOf, selectFiles } from './runner/select.ts'
import { setUp } from './runner/set-up.ts'
import { summaryLine, type Tally } from './runner/tally.ts'

// Room for a container's cold start on a busy machine of two cores, and no more than these two at a time.
const OPTIONS = { concurrency: 2, testTimeoutMs: 120_000 }

const main = async (filters: readonly string[], signal: AbortSignal): Promise<Tally[]> => {
  const files = selectFiles(filters)
  if (files.length === 0) {
    console.log(`no test file matches: ${filters.join(' ')}`)
    return []
  }
  const stack = new AsyncDisposableStack()
  try {
    Object.assign(process.env, await setUp(stack, needsOf(files)))
    const { first, onCluster } = groupsOf(files, (file) => needsOf([file]).kubernetes)
    const tallies = await execute(first, { ...OPTIONS, signal })
    if (onCluster.length > 0) Object.assign(process.env, await startCluster(stack))
    for (const group of onCluster) {
      for (const [file, tally] of await execute(group, { ...OPTIONS, signal })) tallies.set(file, tally)
    }
    return [...(await secondTry(tallies, { ...OPTIONS, signal })).values()]
  } catch (error) {
    console.error('the set-up failed:', error)
    return [{ passed: 0, failed: 1, skipped: [] }]
  } finally {
    await stack.disposeAsync().catch((error) => console.error('the clean-up failed:', error))
  }
}

const interrupted = new AbortController()
for (const name of ['SIGINT', 'SIGTERM'] as const) process.on(name, () => interrupted.abort(new Error(name)))

const tallies = await main(process.argv.slice(2), interrupted.signal)
const skipped = tallies.flatMap((one) => one.skipped)
if (skipped.length > 0) console.log(`\nskipped:\n${skipped.map((line) => `  ${line}`).join('\n')}`)
if (interrupted.signal.aborted) console.log('\ninterrupted: not every test ran')
console.log(`\n${summaryLine(tallies)}`)
const ran = tallies.some((one) => one.passed + one.failed > 0)
const failed = tallies.some((one) => one.failed > 0)
process.exit(failed || !ran || interrupted.signal.aborted ? 1 : 0)
