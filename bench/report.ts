import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { cpus, totalmem } from 'node:os'
import { join } from 'node:path'
import type { Chart } from './charts/chart.ts'
import { CHARTS, savePlots } from './plots.ts'
import type { Row } from './row.ts'

const ROOT = join(import.meta.dirname, '..')

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

/** A page with the table between its markers replaced; `target` of make wrote it. Throws where the markers are lost. Pure. */
export const withTable = (page: string, target: string, table: string): string => {
  const [begin, end] = [`<!-- ${target}:begin (written by make ${target}) -->`, `<!-- ${target}:end -->`]
  const [before, rest] = page.split(begin)
  const after = rest?.split(end)[1]
  if (before === undefined || after === undefined) throw new Error(`a page has lost its markers ${begin} … ${end}`)
  return `${before}${begin}\n${table}\n${end}${after}`
}

/** Writes the JSON for machines, the plots, and the table for people. */
export const saveReport = async (rows: readonly Row[], charts: readonly Chart[], machine: string): Promise<void> => {
  const results = join(ROOT, 'bench', 'results')
  await mkdir(results, { recursive: true })
  await writeFile(join(results, 'latest.json'), `${JSON.stringify(rows, null, 2)}\n`)
  await writeFile(CHARTS, `${JSON.stringify(charts, null, 2)}\n`)
  await savePlots(charts)
  const page = join(ROOT, 'docs', 'benchmarks.md')
  await writeFile(page, withTable(await readFile(page, 'utf8'), 'bench', markdownTable(rows, machine)))
}
