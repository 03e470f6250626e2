import { clip, createWrapper, paint, plain, type Screen, type Wrapper } from './demo-text.ts'

export type PrinterOptions = Screen & {
  /** A terminal whose last line can be written over: what is going on right now is shown there and taken away again. */
  readonly live: boolean
}

export const INDENT = '  '

const ERASE_LINE = '\r\u001b[2K'

/** What the screen shows so far, as far as the next text depends on it. Every function returns what to write. */
export type Printer = {
  /** A line that the next output takes away; nothing where that is not possible. */
  now(what: string): string
  clear(): string
  /** Paragraphs and tools stand apart, tools among themselves do not. */
  block(kind: 'text' | 'tool', lines: string): string
  /** A piece of running text. */
  say(delta: string): string
  talking(): boolean
  endText(): string
}

export const createPrinter = (options: PrinterOptions): Printer => {
  let text: Wrapper | undefined
  let transient = false
  let last: 'text' | 'tool' | undefined

  const clear = (): string => {
    const out = transient ? ERASE_LINE : ''
    transient = false
    return out
  }
  const block = (kind: 'text' | 'tool', lines: string): string => {
    const apart = last === kind && kind === 'tool' ? '' : '\n'
    last = kind
    return clear() + apart + lines
  }
  return {
    clear,
    block,
    now: (what) => {
      if (!options.live || text !== undefined) return ''
      transient = true
      return (
        ERASE_LINE + INDENT + paint(options, 'dim', clip(`⋯ ${plain(what).replaceAll('\n', ' ')}`, options.columns - 4))
      )
    },
    say: (delta) => {
      if (text !== undefined) return text.push(delta)
      if (delta === '') return ''
      text = createWrapper(options.columns, INDENT)
      return block('text', text.push(delta))
    },
    talking: () => text !== undefined,
    endText: () => {
      const out = text?.end() ?? ''
      text = undefined
      return out
    },
  }
}
