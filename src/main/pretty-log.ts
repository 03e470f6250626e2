import type { DestinationStream } from 'pino'
import { paint, plain, type Screen } from './demo-text.ts'

const COLORS: Readonly<Record<string, 'red' | 'yellow' | 'dim'>> = {
  fatal: 'red',
  error: 'red',
  warn: 'yellow',
  debug: 'dim',
  trace: 'dim',
}

const HIDDEN = new Set(['level', 'time', 'pid', 'name', 'msg', 'err', 'reqId'])

const detailOf = (value: unknown): string => (typeof value === 'string' ? value : JSON.stringify(value))

/** One line of JSON as a person likes to read it; what is no JSON stays as it is. Pure. */
export const prettyLine = (line: string, screen: Screen): string => {
  let entry: Record<string, unknown>
  try {
    entry = JSON.parse(line) as Record<string, unknown>
  } catch {
    return line
  }
  const level = String(entry.level)
  const time = String(entry.time).slice(11, 19)
  const details = Object.entries(entry)
    .filter(([key]) => !HIDDEN.has(key))
    .map(([key, value]) => `${key}=${plain(detailOf(value))}`)
  const error = entry.err as { stack?: string; message?: string } | undefined
  const head = `${paint(screen, 'dim', time)} ${level.padEnd(5)} ${plain(String(entry.msg ?? ''))}`
  const color = COLORS[level]
  const tail = details.length > 0 ? paint(screen, 'dim', ` ${details.join(' ')}`) : ''
  const trace = error === undefined ? '' : `\n${plain(error.stack ?? error.message ?? '')}`
  return `${color === undefined ? head : paint(screen, color, head)}${tail}${trace}\n`
}

/** For a terminal; where output goes to a file or a pipe, leave it JSON. */
export const prettyDestination = (screen: Screen, write: (text: string) => void): DestinationStream => ({
  write: (line) => write(prettyLine(line, screen)),
})
