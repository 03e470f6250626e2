import type { LineChart } from './chart.ts'
import { type Scale, scaleFor, shortNumber } from './scale.ts'
import { dot, line, path, picture, text, WIDTH } from './svg.ts'

const TOP = 74
const BOTTOM = 400
const LEFT = 78
const RIGHT = 250
const LABEL_GAP = 17

/** Places for labels near where they belong, so far apart that they can be read. Pure. */
export const spreadOut = (wanted: readonly number[], gap: number): number[] => {
  const order = wanted.map((y, index) => ({ y, index })).sort((a, b) => a.y - b.y)
  const placed = new Array<number>(wanted.length).fill(0)
  let free = Number.NEGATIVE_INFINITY
  for (const { y, index } of order) {
    const at = Math.max(y, free)
    placed[index] = at
    free = at + gap
  }
  // What was pushed below the plot moves up again, the lowest first.
  let limit = BOTTOM
  for (const { index } of order.reverse()) {
    const at = Math.min(placed[index] ?? 0, limit)
    placed[index] = at
    limit = at - gap
  }
  return placed
}

const frame = (chart: LineChart, x: Scale, y: Scale): string[] => [
  ...x.ticks.flatMap((tick) => [
    line(x.at(tick), TOP, x.at(tick), BOTTOM),
    text(x.at(tick), BOTTOM + 18, shortNumber(tick), { kind: 'tick', anchor: 'middle' }),
  ]),
  ...y.ticks.flatMap((tick) => [
    line(LEFT, y.at(tick), WIDTH - RIGHT, y.at(tick)),
    text(LEFT - 8, y.at(tick) + 4, shortNumber(tick), { kind: 'tick', anchor: 'end' }),
  ]),
  text((LEFT + WIDTH - RIGHT) / 2, BOTTOM + 42, chart.x.label, { kind: 'axis', anchor: 'middle' }),
  text(0, 0, chart.y.label, {
    kind: 'axis',
    anchor: 'middle',
    more: ` transform="translate(22 ${(TOP + BOTTOM) / 2}) rotate(-90)"`,
  }),
]

/** A line plot; each line is named at its end. Pure. */
export const drawLines = (chart: LineChart): string => {
  const all = chart.series.flatMap((series) => series.points)
  const range = [LEFT, WIDTH - RIGHT] as const
  const x = scaleFor(
    chart.x.scale,
    all.map(([value]) => value),
    range,
  )
  const y = scaleFor(
    chart.y.scale,
    all.map(([, value]) => value),
    [BOTTOM, TOP],
  )
  const lines = chart.series.map((series) => series.points.map(([a, b]) => [x.at(a), y.at(b)] as const))
  const ends = lines.map((points) => points.at(-1)?.[1] ?? TOP)
  const labels = spreadOut(ends, LABEL_GAP)
  return picture(BOTTOM + 58, chart.title, chart.subtitle, [
    ...frame(chart, x, y),
    ...lines.flatMap((points, n) => [path(points, n), ...points.map(([a, b]) => dot(a, b, n, 4))]),
    ...chart.series.flatMap((series, n) => [
      dot(WIDTH - RIGHT + 18, (labels[n] ?? 0) - 0, n, 4),
      text(WIDTH - RIGHT + 28, (labels[n] ?? 0) + 4, series.name),
    ]),
  ])
}
