import type { EventData, EventType, RunRef } from '#contracts/events.ts'
import { capData, DELTA_MAX_BYTES } from './caps.ts'
import { createEventNumbers } from './event-numbers.ts'
import { createOutbox, type Draft } from './outbox.ts'
import { createPatientSink, SINK_TIMINGS, type SinkTimings } from './patient-sink.ts'
import type { Redactor } from './secrets.ts'
import type { EventSink, SinkResult } from './sinks/event-sink.ts'
import { headBytes } from './text-size.ts'

/** Why the run must stop, seen from the log: somebody ends it, it is over, or nothing can be stored any more. */
export type StopReason = 'ending' | 'finished' | 'cannot_store'

/** What became of one event. `lost`: the recorder has given up. */
export type Recorded = 'stored' | 'ending' | 'finished' | 'lost'

type SettleOptions = { readonly id?: string; readonly unlessEnding?: true }

/**
 * Writes a run's events in order. The first event of an idle recorder leaves at once; more gather while a write is on its
 * way. Never throws and never blocks its callers: what cannot be stored is tried again until it is, or given up.
 */
export type Recorder = {
  record<T extends EventType>(type: T, data: EventData[T]): void
  /** A piece of a message. Its index, and the number of pieces in `message_complete`, are set when they leave. */
  delta(messageId: string, kind: 'text' | 'reasoning', text: string): void
  /** As `record`, and says what became of it. */
  settle<T extends EventType>(type: T, data: EventData[T], options?: SettleOptions): Promise<Recorded>
  /** Resolves when a model step may begin: events can be stored, or the recorder has given up, or `signal` aborted. */
  ready(signal: AbortSignal): Promise<void>
  /** Resolves when all that was recorded is stored, or given up. */
  flush(): Promise<void>
}

export type RecorderDeps = {
  readonly run: RunRef
  readonly sink: EventSink
  readonly redactor: Redactor
  /** May be called more than once. */
  readonly onStop: (reason: StopReason, detail?: string) => void
  readonly timings?: Partial<SinkTimings>
}

const cleanAll = <T>(value: T, redactor: Redactor): T => {
  if (typeof value === 'string') return redactor.clean(value) as T
  if (Array.isArray(value)) return value.map((part) => cleanAll(part, redactor)) as T
  if (typeof value !== 'object' || value === null) return value
  const entries = Object.entries(value).map(([key, part]) => [redactor.clean(key), cleanAll(part, redactor)])
  return Object.fromEntries(entries) as T
}

/** The outbox, emptied by one writer at a time. */
const createMailer = ({ run, sink, onStop, timings }: RecorderDeps) => {
  const outbox = createOutbox()
  const number = createEventNumbers(run)
  const waiting = new Map<Draft, (recorded: Recorded) => void>()
  let writing: Promise<void> | undefined
  let closed = false

  const close = (reason: StopReason, detail?: string) => {
    closed = true
    outbox.clear()
    patient.close()
    for (const resolve of waiting.values()) resolve(reason === 'finished' ? 'finished' : 'lost')
    waiting.clear()
    onStop(reason, detail)
  }
  const patient = createPatientSink(sink, { ...SINK_TIMINGS, ...timings }, (detail) => close('cannot_store', detail))

  const settled = (batch: readonly Draft[], result: SinkResult) => {
    for (const draft of batch) {
      waiting.get(draft)?.(result.outcome)
      waiting.delete(draft)
    }
    if (result.outcome === 'finished') close('finished')
    else if (result.outcome === 'ending' || result.ending) onStop('ending')
  }

  const writeAll = async () => {
    while (outbox.size > 0) {
      const batch = outbox.take()
      const result = await patient.store(batch.map(number), batch[0]?.unlessEnding === true)
      if (result !== undefined) settled(batch, result)
    }
    writing = undefined
  }

  const push = (draft: Draft, onSettled?: (recorded: Recorded) => void) => {
    if (closed) return onSettled?.('lost')
    if (onSettled !== undefined) waiting.set(draft, onSettled)
    outbox.push(draft)
    writing ??= writeAll()
  }

  const flush = async () => {
    while (writing !== undefined) await writing
  }
  return { push, flush, ready: patient.ready }
}

export const createRecorder = (deps: RecorderDeps): Recorder => {
  const { redactor } = deps
  const { push, flush, ready } = createMailer(deps)

  const draftOf = <T extends EventType>(type: T, data: EventData[T], options: SettleOptions = {}): Draft =>
    ({ type, data: capData(type, cleanAll(data, redactor)), at: new Date(), ...options }) as Draft

  return {
    record: (type, data) => push(draftOf(type, data)),
    delta: (message_id, kind, text) => {
      for (let rest = redactor.clean(text); rest !== ''; ) {
        const delta = headBytes(rest, DELTA_MAX_BYTES)
        rest = rest.slice(delta.length)
        push({ type: 'message_delta', data: { message_id, index: 0, kind, delta }, at: new Date() })
      }
    },
    settle: (type, data, options) => {
      const { promise, resolve } = Promise.withResolvers<Recorded>()
      push(draftOf(type, data, options), resolve)
      return promise
    },
    ready,
    flush,
  }
}
