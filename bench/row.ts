/** One figure of the benchmark. `ratio` = value / baseline, both taken in the same run on the same machine. */
export type Row = {
  readonly name: string
  readonly value: number
  readonly unit: string
  readonly baseline: number | null
  readonly ratio: number | null
  /** What the figure (or its ratio, where there is a baseline) must reach, in words. */
  readonly target: string
  readonly meets: boolean | null
}

const round = (x: number): number => Number(x.toPrecision(4))

/** A figure against a limit of its own: meets when `value <= max` (null = no target, only reported). */
export const absolute = (name: string, value: number, unit: string, max: number | null): Row => ({
  name,
  value: round(value),
  unit,
  baseline: null,
  ratio: null,
  target: max === null ? '' : `≤ ${max} ${unit}`,
  meets: max === null ? null : value <= max,
})

/** What a ratio must reach; `undefined`: it is only reported. */
export type Bound = { readonly max: number } | { readonly min: number } | undefined

/** A figure against a baseline of the same run. */
export const relative = (name: string, value: number, unit: string, baseline: number, bound?: Bound): Row => {
  const ratio = value / baseline
  const row = { name, value: round(value), unit, baseline: round(baseline), ratio: round(ratio) }
  if (bound === undefined) return { ...row, target: '', meets: null }
  return 'max' in bound
    ? { ...row, target: `≤ ${bound.max} × baseline`, meets: ratio <= bound.max }
    : { ...row, target: `≥ ${bound.min} × baseline`, meets: ratio >= bound.min }
}

/** The same figure without a verdict: the machine was too restless for one. */
export const withoutVerdict = (row: Row): Row =>
  row.meets === null ? row : { ...row, meets: null, target: `${row.target} (too restless to say)` }

/** The q-quantile (0..1) by the nearest rank. */
export const quantile = (values: readonly number[], q: number): number => {
  const sorted = [...values].sort((a, b) => a - b)
  const at = Math.min(sorted.length - 1, Math.max(0, Math.ceil(q * sorted.length) - 1))
  const found = sorted[at]
  if (found === undefined) throw new Error('no values to take a quantile of')
  return found
}

/** The three quantiles that are reported of everything that is waited for. */
export const spread = (
  values: readonly number[],
): { readonly p50: number; readonly p95: number; readonly p99: number } => ({
  p50: quantile(values, 0.5),
  p95: quantile(values, 0.95),
  p99: quantile(values, 0.99),
})

export const median = (values: readonly number[]): number => quantile(values, 0.5)
