import { relative } from 'node:path'
import { PassThrough, pipeline } from 'node:stream'
import { run } from 'node:test'
import { spec, type TestEvent } from 'node:test/reporters'
import { ROOT } from './imports.ts'
import { type Tally, tally } from './tally.ts'

export type { TestEvent }

export type ExecuteOptions = {
  readonly concurrency: number
  /** Of one test, unless it sets its own; milliseconds. */
  readonly testTimeoutMs: number
  readonly signal: AbortSignal
}

// Beyond a test's own time-out: then it is the file that hangs, mostly because something it opened is still open.
const SILENCE_GRACE_MS = 30_000

const failure = (file: string, message: string): TestEvent => {
  const error = Object.assign(new Error(message), { cause: message, failureType: 'testCodeFailure', code: 'ERR_TEST' })
  // The one field that the types want and no reporter reads is the position.
  const data = { name: file, nesting: 0, testNumber: 0, file, details: { duration_ms: 0, error, type: 'test' } }
  return { type: 'test:fail', data } as unknown as TestEvent
}

/** What a file's own entry says, in better words. */
const reworded = (event: TestEvent, file: string, silence: AbortSignal): TestEvent => {
  if (event.type !== 'test:pass' && event.type !== 'test:fail') return event
  if (event.data.name !== file) return event
  // A file without tests is reported as one passed test that bears the file's name.
  if (event.type === 'test:pass') return failure(file, 'this file has no tests')
  return silence.aborted ? failure(file, String(silence.reason.message)) : event
}

/** Runs one file in a process of its own and gives what happened in it. A file that falls silent is ended and fails. */
export const runFile = async (file: string, options: ExecuteOptions): Promise<TestEvent[]> => {
  const silence = new AbortController()
  const limit = options.testTimeoutMs + SILENCE_GRACE_MS
  const onSilence = () =>
    silence.abort(new Error(`silent for ${limit / 1000} s, so it was ended: a hook hangs, or something is left open`))
  let timer = setTimeout(onSilence, limit)
  const events: TestEvent[] = []
  try {
    const signal = AbortSignal.any([options.signal, silence.signal])
    for await (const event of run({ files: [file], timeout: options.testTimeoutMs, signal })) {
      clearTimeout(timer)
      timer = setTimeout(onSilence, limit)
      events.push(reworded(event, file, silence.signal))
    }
  } finally {
    clearTimeout(timer)
  }
  return events
}

const heading = (file: string, startedAt: number): TestEvent => {
  const message = `${relative(ROOT, file)} (${((Date.now() - startedAt) / 1000).toFixed(1)} s)`
  return { type: 'test:diagnostic', data: { nesting: 0, level: 'info', message } }
}

// Each file ends with counts of its own, which would drown the one count of the run.
const isShown = ({ type, data }: TestEvent) =>
  type !== 'test:summary' && !(type === 'test:diagnostic' && data.nesting === 0 && !('file' in data && data.file))

/** Runs the files, some at a time, and prints each one's report when it is done. One tally per file. */
export const execute = async (files: readonly string[], options: ExecuteOptions): Promise<Map<string, Tally>> => {
  const reporter = new PassThrough({ objectMode: true })
  const printed = new Promise<void>((resolve, reject) => {
    const text = pipeline(reporter, spec(), new PassThrough(), (error) => (error ? reject(error) : resolve()))
    text.pipe(process.stdout, { end: false })
  })
  const tallies = new Map<string, Tally>()
  const waiting = [...files]
  const work = async () => {
    for (let file = waiting.shift(); file !== undefined && !options.signal.aborted; file = waiting.shift()) {
      const startedAt = Date.now()
      const events = await runFile(file, options)
      tallies.set(file, tally(file, events))
      for (const event of [heading(file, startedAt), ...events.filter(isShown)]) reporter.write(event)
    }
  }
  await Promise.all(Array.from({ length: options.concurrency }, work))
  reporter.end()
  await printed
  return tallies
}
