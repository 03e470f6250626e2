/** Draws docs/benchmarks/*.svg from bench/results/charts.json: `node bench/plots.ts`; `make bench` does it too. */
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Chart } from './charts/chart.ts'
import { drawDots } from './charts/dots.ts'
import { drawLines } from './charts/lines.ts'

const ROOT = join(import.meta.dirname, '..')
export const CHARTS = join(ROOT, 'bench', 'results', 'charts.json')

export const drawChart = (chart: Chart): string => (chart.kind === 'dots' ? drawDots(chart) : drawLines(chart))

export const savePlots = async (charts: readonly Chart[]): Promise<void> => {
  const folder = join(ROOT, 'docs', 'benchmarks')
  await mkdir(folder, { recursive: true })
  for (const chart of charts) await writeFile(join(folder, `${chart.file}.svg`), drawChart(chart))
}

if (import.meta.main) await savePlots(JSON.parse(await readFile(CHARTS, 'utf8')) as Chart[])
