import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Row } from '../row.ts'

/** A distribution as the benchmark keeps one, milliseconds. */
export type Quantiles = { readonly p50: number; readonly p95: number; readonly p99: number }

/** What the simulated engine takes, from 0 to 1: milliseconds. */
export type EngineTimes = { readonly start: (u: number) => number; readonly remove: (u: number) => number }

const RESULTS = join(import.meta.dirname, '..', 'results', 'latest.json')

/**
 * The value at `u` (0 to 1) of a distribution of which three quantiles are known: straight lines between them, as far below
 * the median as p95 is above it, and nothing beyond p99. Pure.
 */
export const valueAt = ({ p50, p95, p99 }: Quantiles, u: number): number => {
  const points = [
    [0, Math.max(0, 2 * p50 - p95)],
    [0.5, p50],
    [0.95, p95],
    [0.99, p99],
    [1, p99],
  ] as const
  for (const [n, [right, high]] of points.entries()) {
    const [left, low] = points[n - 1] ?? points[0]
    if (u <= right) return right === left ? high : low + ((u - left) / (right - left)) * (high - low)
  }
  return p99
}

const quantilesOf = (rows: readonly Row[], name: string): Quantiles => {
  const find = (q: keyof Quantiles): number => {
    const row = rows.find((one) => one.name === `${name}, ${q}` || one.name.startsWith(`${name}, ${q} (`))
    if (row === undefined) throw new Error(`bench/results/latest.json has no row "${name}, ${q}": run make bench`)
    return row.value
  }
  return { p50: find('p50'), p95: find('p95'), p99: find('p99') }
}

/**
 * Docker as `make bench` measured it on a machine of this kind, one container at a time: `dockerode script` is create to the first
 * byte of output, and what `docker run` takes beyond that is exit and removal.
 */
export const engineTimes = (rows: readonly Row[]): EngineTimes => {
  const script = quantilesOf(rows, 'dockerode script')
  const whole = quantilesOf(rows, 'docker run')
  return {
    start: (u) => valueAt(script, u),
    remove: (u) => Math.max(0, valueAt(whole, u) - valueAt(script, u)),
  }
}

export const measuredTimes = (): EngineTimes => engineTimes(JSON.parse(readFileSync(RESULTS, 'utf8')) as Row[])
