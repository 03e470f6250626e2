import type { LineChart } from './charts/chart.ts'
import { quantile, type Row, relative } from './row.ts'

/** One operation at one size: milliseconds. */
export type Taken = { readonly adapter: string; readonly operation: string; readonly size: number; readonly ms: number }

/** Milliseconds of a call, the lower quartile of `times` after two that are not counted: what others do to the machine only adds. */
export const timeOf = async (times: number, work: () => Promise<unknown>): Promise<number> => {
  const taken: number[] = []
  for (let n = -2; n < times; n++) {
    const start = performance.now()
    await work()
    if (n >= 0) taken.push(performance.now() - start)
  }
  return quantile(taken, 0.25)
}

/** The figures of some adapters, each line under the name of its operation where there is only one. */
const seriesOf = (all: readonly Taken[], adapters: readonly string[]): LineChart['series'] => {
  const mine = all.filter((one) => adapters.includes(one.adapter))
  return namesOf(mine).map((name) => ({
    name: adapters.length === 1 ? name.slice(name.indexOf(': ') + 2) : name,
    points: lineOf(mine, name).map((one) => [one.size, one.ms] as const),
  }))
}

const namesOf = (all: readonly Taken[]): string[] => [...new Set(all.map((one) => `${one.adapter}: ${one.operation}`))]

const lineOf = (all: readonly Taken[], name: string): Taken[] =>
  all.filter((one) => `${one.adapter}: ${one.operation}` === name).sort((a, b) => a.size - b.size)

/**
 * Largest against smallest size. An operation whose work is a page or one new event should cost the same at any size; 3 leaves
 * room for the depth of an index, for caches that are too small, and for a shared machine. Below {@link NOISE_MS} one
 * compares noise with noise.
 */
const GROWTH_MAX = 3
const NOISE_MS = 0.6

export const growthRows = (all: readonly Taken[], unitName: string): Row[] =>
  namesOf(all).flatMap((name) => {
    const line = lineOf(all, name)
    const [small, large] = [line[0], line.at(-1)]
    if (small === undefined || large === undefined) return []
    const what = `${name} at ${large.size.toLocaleString('en')} ${unitName}, against ${small.size.toLocaleString('en')}`
    const row = relative(what, large.ms, 'ms', small.ms, { max: GROWTH_MAX })
    const target = `${row.target}, or ${NOISE_MS} ms`
    return [{ ...row, target, meets: row.meets === true || large.ms <= NOISE_MS }]
  })

export const growthChart = (
  all: readonly Taken[],
  adapters: readonly string[],
  words: Pick<LineChart, 'file' | 'title' | 'subtitle'> & { readonly x: string },
): LineChart => ({
  kind: 'lines',
  file: words.file,
  title: words.title,
  subtitle: words.subtitle,
  x: { label: words.x, scale: 'log' },
  y: { label: 'milliseconds', scale: 'log' },
  series: seriesOf(all, adapters),
})
