/** From values to pixels. */
export type Scale = { readonly at: (value: number) => number; readonly ticks: readonly number[] }

type Range = readonly [number, number]

/** 1, 2, 5 times a power of ten between the two, both included. */
const roundNumbers = ([low, high]: Range, factors: readonly number[]): number[] => {
  const found: number[] = []
  for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power++) {
    for (const factor of factors) {
      const value = factor * 10 ** power
      if (value >= low * 0.999 && value <= high * 1.001) found.push(value)
    }
  }
  return found
}

const logScale = (values: readonly number[], [from, to]: Range): Scale => {
  const low = Math.min(...values)
  const high = Math.max(...values)
  const steps = Math.log10(high / low) > 2.5 ? [1] : [1, 2, 5]
  const domain: Range = [
    roundNumbers([low / 10, low], steps).at(-1) ?? low / 2,
    roundNumbers([high, high * 10], steps)[0] ?? high * 2,
  ]
  const [a, b] = [Math.log10(domain[0]), Math.log10(domain[1])]
  return {
    at: (value) => from + ((Math.log10(Math.max(value, domain[0])) - a) / (b - a)) * (to - from),
    ticks: roundNumbers(domain, steps),
  }
}

/** Begins at zero: lengths then compare as the values do. */
const linearScale = (values: readonly number[], [from, to]: Range): Scale => {
  const high = Math.max(...values) * 1.05
  const step = roundNumbers([high / 8, high], [1, 2, 5])[0] ?? high
  const ticks = Array.from({ length: Math.ceil(high / step) + 1 }, (_, n) => n * step)
  const top = ticks.at(-1) ?? high
  return { at: (value) => from + (value / top) * (to - from), ticks }
}

/** A scale that has room for these values (positive ones, where it is logarithmic) between two pixels. Pure. */
export const scaleFor = (kind: 'log' | 'linear', values: readonly number[], range: Range): Scale => {
  const usable = values.filter((value) => Number.isFinite(value) && (kind === 'linear' || value > 0))
  if (usable.length === 0) throw new Error('a chart without values')
  return kind === 'log' ? logScale(usable, range) : linearScale(usable, range)
}

/** A short text for a number: 1 000 000 → 1M, 0.05 → 0.05. Pure. */
export const shortNumber = (value: number): string => {
  if (value >= 1e6) return `${Number((value / 1e6).toPrecision(3))}M`
  if (value >= 1e4) return `${Number((value / 1e3).toPrecision(3))}k`
  return String(Number(value.toPrecision(3)))
}
