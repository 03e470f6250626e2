import type { SessionEvent, SessionEventOf } from '#contracts/events.ts'
import { createPrinter, INDENT, type Printer, type PrinterOptions } from './demo-printer.ts'
import { cells, clip, paint, plain, type Screen, seconds, wrap } from './demo-text.ts'

/** Turns the events of a run into what a terminal shows, one after the other. No I/O: the output depends on the events alone. */
export type DemoView = { show(event: SessionEvent): string }

/** Lines shown of a command's output; the log has the rest. */
const OUTPUT_LINES = 6

const OUTCOMES = { error: 'failed', denied: 'denied', timeout: 'timed out', aborted: 'stopped' } as const

const outcome = ({ status, exit_code: code }: SessionEventOf<'tool_end'>['data']): string => {
  if (status === 'ok') return ''
  return status === 'error' && code !== undefined ? `exit ${code}` : OUTCOMES[status]
}

/** Columns below which a title says nothing: then the time gives way to it. */
const TITLE_MIN = 12

/** Times stand below each other, and not too far from what took them. */
const LINE_MAX = 78

const MARK = '✓ '.length

const toolLine = (screen: Screen, title: string, data: SessionEventOf<'tool_end'>['data']): string => {
  const ok = data.status === 'ok'
  const space = Math.min(screen.columns - 1, LINE_MAX) - INDENT.length - MARK
  const timed = [outcome(data), seconds(data.duration_ms)].filter((part) => part !== '').join(' · ')
  const right = space - cells(timed) - 2 < TITLE_MIN ? outcome(data) : timed
  const left = clip(plain(title).replaceAll('\n', ' '), Math.max(1, space - cells(right) - 2))
  const gap = ' '.repeat(right === '' ? 0 : Math.max(2, space - cells(left) - cells(right)))
  const mark = paint(screen, ok ? 'green' : 'red', ok ? '✓' : '✗')
  return `${INDENT}${mark} ${paint(screen, 'bold', left)}${gap}${paint(screen, ok ? 'dim' : 'red', right)}\n`
}

/** What the tool itself puts behind a command's output, for the model. */
const EXIT_NOTE = /^\(exit code \d+;.*\)$/

/** Output of commands, and of whatever failed: its beginning, and how much more there is. */
const outputLines = (screen: Screen, data: SessionEventOf<'tool_end'>['data']): string => {
  if (data.tool_name !== 'bash' && data.status === 'ok') return ''
  const lines = plain(data.output)
    .split('\n')
    .filter((line) => line.trim() !== '' && !EXIT_NOTE.test(line))
  const shown = lines.slice(0, OUTPUT_LINES).map((line) => clip(line, screen.columns - INDENT.length - 5))
  if (lines.length > OUTPUT_LINES) shown.push(`… ${lines.length - OUTPUT_LINES} more lines`)
  return shown.map((line) => `${INDENT}  ${paint(screen, 'dim', `│ ${line}`)}\n`).join('')
}

const startedLine = (screen: Screen, event: SessionEventOf<'agent_start'>, since: Date | undefined): string => {
  const { model, container_id: id } = event.data
  const after = since && ` after ${seconds(event.timestamp.getTime() - since.getTime())}`
  const parts = [`agent started${after ?? ''}`, `model ${model}`, ...(id === undefined ? [] : [id.slice(0, 12)])]
  return paint(screen, 'dim', wrap(parts.join(' · '), screen.columns, INDENT))
}

const finishLine = (screen: Screen, { data, timestamp }: SessionEventOf<'finish'>, since: Date | undefined): string => {
  const ok = data.status === 'success'
  const took = since ? ` in ${seconds(timestamp.getTime() - since.getTime())}` : ''
  const head = `${ok ? '✓' : '✗'} ${data.status === data.cause ? data.status : `${data.status} (${data.cause})`}${took}`
  const error = data.error === undefined ? '' : paint(screen, 'red', wrap(data.error, screen.columns, `${INDENT}  `))
  return `\n${INDENT}${paint(screen, ok ? ['bold', 'green'] : ['bold', 'red'], head)}\n${error}`
}

const STATES = {
  queued: 'waiting for a worker',
  starting: 'starting the agent',
  running: 'the agent is starting',
} as const

const THINKING = 'the model is thinking'

/** What is known of the run so far. */
type Seen = {
  readonly options: PrinterOptions
  readonly out: Printer
  readonly titles: Map<string, string>
  began?: Date
}

const prompt = ({ options, out }: Seen, event: SessionEventOf<'user_message'>): string => {
  const lines = wrap(event.data.content, options.columns, INDENT).slice(INDENT.length)
  return out.block('text', paint(options, 'bold', `› ${lines}`))
}

const complete = ({ options, out }: Seen, { data }: SessionEventOf<'message_complete'>): string => {
  const unseen = out.talking() ? '' : out.say(data.content)
  const again = data.discarded === true ? paint(options, 'dim', `${INDENT}(broke off; it is tried again)\n`) : ''
  return unseen + out.endText() + again + (data.tool_calls.length > 0 ? out.now('working') : '')
}

const toolEnd = ({ options, out, titles }: Seen, { data }: SessionEventOf<'tool_end'>): string => {
  const title = titles.get(data.tool_call_id) ?? data.tool_name
  return out.block('tool', toolLine(options, title, data) + outputLines(options, data)) + out.now(THINKING)
}

const runState = ({ out }: Seen, { data }: SessionEventOf<'run_state'>): string => {
  if (data.state !== 'stopping') return out.now(STATES[data.state])
  return out.endText() + out.now(`ending the run: ${data.cause ?? 'asked to'}`)
}

const show = (seen: Seen, event: SessionEvent): string => {
  const { options, out, began } = seen
  switch (event.event_type) {
    case 'user_message':
      seen.began = event.timestamp
      return prompt(seen, event)
    case 'run_state':
      return runState(seen, event)
    case 'agent_start':
      return out.clear() + startedLine(options, event, began) + out.now(THINKING)
    case 'message_delta':
      return event.data.kind === 'text' ? out.say(event.data.delta) : ''
    case 'message_complete':
      return complete(seen, event)
    case 'tool_start':
      seen.titles.set(event.data.tool_call_id, event.data.title)
      return out.now(event.data.title)
    case 'tool_end':
      return toolEnd(seen, event)
    case 'error':
      return out.endText() + out.block('tool', paint(options, 'red', wrap(event.data.message, options.columns, INDENT)))
    case 'finish':
      return out.endText() + out.clear() + finishLine(options, event, began)
    default:
      return ''
  }
}

export const createDemoView = (options: PrinterOptions): DemoView => {
  const seen: Seen = { options, out: createPrinter(options), titles: new Map() }
  return { show: (event) => show(seen, event) }
}
