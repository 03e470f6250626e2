/** What a plot shows, as data: everything a picture needs and nothing about pictures. Kept in bench/results/charts.json. */

type Axis = { readonly label: string; readonly scale: 'log' | 'linear' }

/** How a figure grows. */
export type LineChart = {
  readonly kind: 'lines'
  /** Name of the file without its ending. */
  readonly file: string
  readonly title: string
  readonly subtitle: string
  readonly x: Axis
  readonly y: Axis
  readonly series: readonly { readonly name: string; readonly points: readonly (readonly [number, number])[] }[]
}

/** How figures compare: one row for each thing, one mark for each of its values. */
export type DotChart = {
  readonly kind: 'dots'
  readonly file: string
  readonly title: string
  readonly subtitle: string
  readonly x: Axis
  readonly rows: readonly {
    readonly name: string
    /** Rows of one group have one colour. */
    readonly group: 'ours' | 'baseline'
    readonly marks: readonly { readonly label: string; readonly value: number }[]
  }[]
}

export type Chart = LineChart | DotChart
