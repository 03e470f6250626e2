import { stripVTControlCharacters, styleText } from 'node:util'

/** How a terminal is: its columns, and whether it takes colours. */
export type Screen = { readonly columns: number; readonly color: boolean }

type Style = Parameters<typeof styleText>[0]

export const paint = (screen: Screen, style: Style, text: string): string =>
  screen.color ? styleText(style, text, { validateStream: false }) : text

/** What agents and their commands print must not move the cursor, ring the bell or rename the window. */
export const plain = (text: string): string =>
  stripVTControlCharacters(text)
    .replaceAll('\t', '  ')
    .replaceAll(/(?!\n)\p{Cc}/gu, '')

const WIDE =
  /^[\u1100-\u115f\u2e80-\u303e\u3041-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6]|\p{Emoji_Presentation}/u

/** Columns that a text takes. */
export const cells = (text: string): number => {
  let sum = 0
  for (const char of text) sum += WIDE.test(char) ? 2 : 1
  return sum
}

/** As much of one line as fits, with an ellipsis where something is left out. */
export const clip = (text: string, width: number): string => {
  if (cells(text) <= width) return text
  let out = ''
  let used = 1
  for (const char of text) {
    used += cells(char)
    if (used > width) break
    out += char
  }
  return `${out}…`
}

export type Wrapper = {
  /** What can be printed now; a word that may go on is kept back. */
  push(text: string): string
  /** The rest, and the cursor at the beginning of a line. */
  end(): string
}

/** Breaks running text at words while it comes in pieces, each line behind `indent`. */
export const createWrapper = (columns: number, indent: string): Wrapper => {
  const width = Math.max(10, columns - cells(indent) - 1)
  let word = ''
  let column = 0

  const place = (): string => {
    if (word === '') return ''
    const length = cells(word)
    const breaks = column > 0 && column + 1 + length > width
    const before = column === 0 ? indent : breaks ? `\n${indent}` : ' '
    column = column === 0 || breaks ? length : column + 1 + length
    const out = before + word
    word = ''
    return out
  }
  const newline = (): string => {
    const out = `${place()}\n`
    column = 0
    return out
  }
  return {
    push: (text) => {
      let out = ''
      for (const char of plain(text)) {
        if (char === '\n') out += newline()
        else if (char === ' ') out += place()
        else word += char
      }
      return out
    },
    end: () => {
      const out = place()
      return column === 0 ? out : out + newline()
    },
  }
}

/** A whole text at once. */
export const wrap = (text: string, columns: number, indent: string): string => {
  const wrapper = createWrapper(columns, indent)
  return wrapper.push(text) + wrapper.end()
}

export const seconds = (ms: number): string => `${(ms / 1000).toFixed(ms < 100 ? 2 : 1)} s`

export const size = (bytes: number): string => {
  if (bytes < 1000) return `${bytes} B`
  return bytes < 1e6 ? `${(bytes / 1000).toFixed(1)} kB` : `${(bytes / 1e6).toFixed(1)} MB`
}
