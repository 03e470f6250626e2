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

/** A figure against a baseline of the same run. */
export const relative = (
  name: string,
  value: number,
  unit: string,
  baseline: number,
  bound: { readonly max: number } | { readonly min: number },
): Row => {
  const ratio = value / baseline
  const isMax = 'max' in bound
  return {
    name,
    value: round(value),
    unit,
    baseline: round(baseline),
    ratio: round(ratio),
    target: isMax ? `≤ ${bound.max} × baseline` : `≥ ${bound.min} × baseline`,
    meets: isMax ? ratio <= bound.max : ratio >= bound.min,
  }
}

/** The q-quantile (0..1) by the nearest rank. */
export const quantile = (values: readonly number[], q: number): number => {
  const sorted = [...values].sort((a, b) => a - b)
  const at = Math.min(sorted.length - 1, Math.max(0, Math.ceil(q * sorted.length) - 1))
  const found = sorted[at]
  if (found === undefined) throw new Error('no values to take a quantile of')
  return found
}

export const median = (values: readonly number[]): number => quantile(values, 0.5)
