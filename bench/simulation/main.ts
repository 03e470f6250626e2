/**
 * `make simulate`: 10 000 sessions through the real API, store, queue and scheduler, on an engine that only waits. Prints a table;
 * a run of that size is kept in bench/results/simulate.json, docs/scale.md and its plots. Exit code 1 when a run was lost,
 * doubled or not ended, or when a session costs more because there are many.
 */
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { savePlots } from '../plots.ts'
import { machineLine, markdownTable, withTable } from '../report.ts'
import { readSettings, type Settings } from './settings.ts'
import { type Report, simulate } from './simulate.ts'

const ROOT = join(import.meta.dirname, '..', '..')
const PAGE = join(ROOT, 'docs', 'scale.md')
const RESULT = join(ROOT, 'bench', 'results', 'simulate.json')

/** From so many sessions on a run is worth keeping. */
const KEPT_FROM = 10_000

const commandOf = ({ sessions, workers, seed, places, failures }: Settings, rate: number): string =>
  `make simulate SESSIONS=${sessions} WORKERS=${workers} PLACES=${places} SEED=${seed} RATE=${rate} FAILURES=${failures}`

const tableOf = (report: Report): string => {
  const { rows, loads, minutes, settings, rate, resource } = report
  const words = `${machineLine(loads, minutes)} \`${commandOf(settings, rate)}\``
  const limit = resource === undefined ? '' : `\n\nBeyond the limit: ${resource}.`
  return `${markdownTable(rows, words)}${limit}`
}

const save = async (report: Report): Promise<void> => {
  const date = new Date().toISOString().slice(0, 10)
  await writeFile(RESULT, `${JSON.stringify({ date, ...report }, null, 2)}\n`)
  await savePlots(report.charts)
  const text = await readFile(PAGE, 'utf8')
  await writeFile(PAGE, withTable(text, 'simulate', `${date}. ${tableOf(report)}`))
}

// The services and processes of the simulation end in hooks of `exit`, which a signal alone would pass by.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => process.exit(130))
process.setMaxListeners(100)

const run = async (): Promise<number> => {
  const settings = readSettings(process.env)
  const say = (line: string) => void process.stderr.write(`simulate: ${line}\n`)
  const report = await simulate({ settings, say, signal: new AbortController().signal })
  if ('skip' in report) {
    console.error(`simulate: ${report.skip}`)
    return 2
  }
  console.log(tableOf(report))
  for (const line of report.violations.slice(0, 20)) console.log(`BROKEN: ${line}`)
  if (report.violations.length > 0) console.log(`${report.violations.length} promises broken`)
  if (settings.sessions >= KEPT_FROM && report.violations.length === 0) await save(report)
  else console.log(`\nNot saved: only a run of ${KEPT_FROM} sessions that broke no promise is.`)
  const missed = report.rows.filter(({ meets }) => meets === false)
  for (const { name, target } of missed) console.log(`MISSED: ${name}: ${target}`)
  return report.violations.length > 0 || missed.length > 0 ? 1 : 0
}

try {
  process.exit(await run())
} catch (error) {
  console.error(error instanceof RangeError ? `simulate: ${error.message}` : error)
  process.exit(2)
}
