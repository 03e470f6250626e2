import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { cpus, totalmem } from 'node:os'
import { join } from 'node:path'
import type { Chart } from './charts/chart.ts'
import { CHARTS, savePlots } from './plots.ts'
import type { Row } from './row.ts'

const ROOT = join(import.meta.dirname, '..')
const BEGIN = '<!-- bench:begin (written by make bench) -->'
const END = '<!-- bench:end -->'

const verdict = (row: Row): string => (row.meets === null ? '' : row.meets ? 'yes' : '**no**')
const cell = (x: number | null): string => (x === null ? '' : String(x))

/** The rows as a Markdown table, with the machine they were taken on. Pure. */
export const markdownTable = (rows: readonly Row[], machine: string): string =>
  [
    machine,
    '',
    '| figure | measured | unit | baseline | ratio | target | met |',
    '| --- | ---: | --- | ---: | ---: | --- | --- |',
    ...rows.map(
      (r) =>
        `| ${r.name} | ${r.value} | ${r.unit} | ${cell(r.baseline)} | ${cell(r.ratio)} | ${r.target} | ${verdict(r)} |`,
    ),
  ].join('\n')

/** @param loads load averages met during the run, lowest and highest */
export const machineLine = (loads: readonly number[], minutes: number): string => {
  const [cpu] = cpus()
  const memory = Math.round(totalmem() / 2 ** 30)
  const load = `${Math.min(...loads).toFixed(1)} to ${Math.max(...loads).toFixed(1)}`
  return `Node ${process.versions.node}, ${cpus().length} × ${cpu?.model ?? 'unknown CPU'}, ${memory} GiB. The whole run took ${minutes.toFixed(0)} minutes; load average between the parts ${load}.`
}

/** Writes the JSON for machines, the plots, and the table for people. */
export const saveReport = async (rows: readonly Row[], charts: readonly Chart[], machine: string): Promise<void> => {
  const results = join(ROOT, 'bench', 'results')
  await mkdir(results, { recursive: true })
  await writeFile(join(results, 'latest.json'), `${JSON.stringify(rows, null, 2)}\n`)
  await writeFile(CHARTS, `${JSON.stringify(charts, null, 2)}\n`)
  await savePlots(charts)
  const page = join(ROOT, 'docs', 'benchmarks.md')
  const text = await readFile(page, 'utf8')
  const [before, rest] = text.split(BEGIN)
  const after = rest?.split(END)[1]
  if (before === undefined || after === undefined) throw new Error(`${page} has lost its markers ${BEGIN} … ${END}`)
  await writeFile(page, `${before}${BEGIN}\n${markdownTable(rows, machine)}\n${END}${after}`)
}
