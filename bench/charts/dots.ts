import type { DotChart } from './chart.ts'
import { scaleFor, shortNumber } from './scale.ts'
import { dot, line, picture, text, WIDTH } from './svg.ts'

const TOP = 74
const ROW = 40
const LEFT = 320
/** Room for the labels of a row that ends at the edge: none may cover another. */
const RIGHT = 120
const COLOUR = { ours: 0, baseline: 5 } as const

/** A dot plot: one row each, its marks joined by a bar, every mark with its value. Pure. */
export const drawDots = ({ title, subtitle, x, rows }: DotChart): string => {
  const bottom = TOP + rows.length * ROW
  const scale = scaleFor(
    x.scale,
    rows.flatMap((row) => row.marks.map((mark) => mark.value)),
    [LEFT, WIDTH - RIGHT],
  )
  const grid = scale.ticks.flatMap((tick) => [
    line(scale.at(tick), TOP - 8, scale.at(tick), bottom),
    text(scale.at(tick), bottom + 18, shortNumber(tick), { kind: 'tick', anchor: 'middle' }),
  ])
  const marks = rows.flatMap((row, n) => {
    const y = TOP + n * ROW + ROW / 2
    const colour = COLOUR[row.group]
    const places = row.marks.map((mark) => scale.at(mark.value))
    let free = Number.NEGATIVE_INFINITY
    const labels = row.marks.flatMap(({ label, value }, i) => {
      const words = `${label === '' ? '' : `${label} `}${shortNumber(value)}`
      const half = words.length * 3.2
      const at = Math.max(places[i] ?? 0, free + half)
      free = at + half + 6
      return [text(at, y - 9, words, { kind: 'value', anchor: 'middle' })]
    })
    return [
      text(LEFT - 16, y + 4, row.name, { anchor: 'end' }),
      line(Math.min(...places), y, Math.max(...places), y, `c${colour} stroke range`),
      ...places.map((place, i) => dot(place, y, colour, i === 0 ? 6 : 4)),
      ...labels,
    ]
  })
  const axis = text((LEFT + WIDTH - RIGHT) / 2, bottom + 40, x.label, { kind: 'axis', anchor: 'middle' })
  return picture(bottom + 56, title, subtitle, [...grid, ...marks, axis])
}
