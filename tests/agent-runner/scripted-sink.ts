import { createRecorder, type RecorderDeps, type StopReason } from '#agent-runner/recorder.ts'
import { createRedactor } from '#agent-runner/secrets.ts'
import type { EventSink, SinkResult } from '#agent-runner/sinks/event-sink.ts'
import type { NewEvent } from '#contracts/events.ts'

const RUN = { tenant_id: 'default', session_id: 's', run_id: 'r', workspace_id: 'w' }

export type Try = { readonly events: readonly NewEvent[]; readonly unlessEnding: boolean }

/** A sink that a test answers by hand. */
export const scriptedSink = (answer: (each: Try, n: number) => Promise<SinkResult> | SinkResult) => {
  const tries: Try[] = []
  const sink: EventSink = {
    append: async (events, { unlessEnding }) => {
      tries.push({ events, unlessEnding })
      return answer({ events, unlessEnding }, tries.length)
    },
    history: async () => [],
  }
  return { sink, tries }
}

export const STORED = { outcome: 'stored', ending: false } as const

export const openRecorder = (sink: EventSink, deps: Partial<RecorderDeps> = {}) => {
  const stops: StopReason[] = []
  const timings = { firstPause: 5, maxPause: 10 }
  const recorder = createRecorder({
    run: RUN,
    sink,
    redactor: createRedactor([]),
    onStop: (reason) => stops.push(reason),
    timings,
    ...deps,
  })
  return { recorder, stops }
}

export const log = (message: string) => ({ level: 'info', message }) as const
