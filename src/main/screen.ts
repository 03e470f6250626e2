import type { WriteStream } from 'node:tty'
import type { Screen } from './demo-text.ts'

/** Columns where a stream does not say how many it has. */
const DEFAULT_COLUMNS = 80

/** Lines longer than this are hard to read, however wide the window is. */
const MAX_COLUMNS = 100

/** How a stream shows text. `hasColors` goes by NO_COLOR, FORCE_COLOR and TERM, as other programs do. */
export const screenOf = (stream: Pick<WriteStream, 'isTTY' | 'columns' | 'hasColors'>): Screen => ({
  columns: Math.min(stream.columns || DEFAULT_COLUMNS, MAX_COLUMNS),
  color: stream.isTTY === true && stream.hasColors(),
})
