/** One line of the table: what was tried, what was asked for, and what really happens. */
export type Row = {
  readonly what: string
  readonly asked: string
  readonly enforced: string
  readonly ok: boolean
}

const WIDEST = 58

const cut = (text: string): string => (text.length > WIDEST ? `${text.slice(0, WIDEST - 1)}…` : text)

const cells = ({ what, asked, enforced, ok }: Row): string[] => [what, cut(asked), cut(enforced), ok ? '✔' : '✖ GAP']

/** `what | asked | enforced | verdict`, one line each. */
export const tableOf = (title: string, rows: readonly Row[]): string => {
  const lines = [['what', 'asked', 'enforced', 'verdict'], ...rows.map(cells)]
  const widths = [0, 1, 2].map((column) => Math.max(...lines.map((line) => line[column]?.length ?? 0)))
  const said = lines.map((line) =>
    line
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join(' | ')
      .trimEnd(),
  )
  const rule = widths.map((width) => '-'.repeat(width)).join('-|-')
  const gaps = rows.filter(({ ok }) => !ok).length
  const verdict = gaps === 0 ? `${rows.length} of ${rows.length} hold` : `${gaps} of ${rows.length} DO NOT HOLD`
  return [`${title}: ${verdict}`, '', said[0], `${rule}-|--------`, ...said.slice(1), ''].join('\n')
}
