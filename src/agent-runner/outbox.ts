import type { EventData, EventType } from '#contracts/events.ts'
import { DELTA_MAX_BYTES } from './caps.ts'

/** An event that is still to be written: it gets its id, and a delta its index, when it leaves. */
export type Draft = {
  [T in EventType]: {
    readonly type: T
    readonly data: EventData[T]
    readonly at: Date
    /** Given: a derived id (`<run>:finish`). Else it is numbered when it leaves. */
    readonly id?: string
    /** Written alone, and only while nobody has asked for the end of the run. */
    readonly unlessEnding?: true
  }
}[EventType]

export type DraftOf<T extends EventType> = Extract<Draft, { type: T }>

/** Bytes in the outbox from which it begins to save room. */
export const OUTBOX_MAX_BYTES = 2 * 1024 * 1024

/** Largest delta while it does. */
const CROWDED_DELTA_MAX_BYTES = 64 * 1024

/** Most that leaves at once: a quarter of what the gateway takes, because JSON may escape what was counted plain. */
const BATCH_MAX_BYTES = 1024 * 1024
const BATCH_MAX_EVENTS = 500

const DISPENSABLE: ReadonlySet<EventType> = new Set(['heartbeat', 'log', 'tool_output_delta'])

/** About what an event weighs: its data as JSON, and its envelope. */
export const weigh = (draft: Draft): number =>
  200 +
  (draft.type === 'message_delta' ? Buffer.byteLength(draft.data.delta) : Buffer.byteLength(JSON.stringify(draft.data)))

/** Two deltas of one message and kind, one behind the other, as one; `undefined` when they do not belong together. Pure. */
export const joinDeltas = (a: Draft, b: Draft, maxBytes = DELTA_MAX_BYTES): Draft | undefined => {
  if (a.type !== 'message_delta' || b.type !== 'message_delta') return undefined
  if (a.data.message_id !== b.data.message_id || a.data.kind !== b.data.kind) return undefined
  const delta = a.data.delta + b.data.delta
  return Buffer.byteLength(delta) > maxBytes ? undefined : { ...a, data: { ...a.data, delta } }
}

/** What can be spared is dropped, and deltas are joined as far as they go; nothing else changes. Pure. */
export const saveRoom = (drafts: readonly Draft[]): Draft[] => {
  const kept: Draft[] = []
  for (const draft of drafts) {
    if (DISPENSABLE.has(draft.type)) continue
    const last = kept.at(-1)
    const joined = last === undefined ? undefined : joinDeltas(last, draft, CROWDED_DELTA_MAX_BYTES)
    if (joined === undefined) kept.push(draft)
    else kept[kept.length - 1] = joined
  }
  return kept
}

const weighAll = (drafts: readonly Draft[]): number => drafts.reduce((sum, each) => sum + weigh(each), 0)

/** The first drafts, as many as may leave together. Pure. */
const nextBatch = (drafts: readonly Draft[]): Draft[] => {
  const batch: Draft[] = []
  let weight = 0
  for (const draft of drafts) {
    const next = weigh(draft)
    const alone = draft.unlessEnding === true || batch[0]?.unlessEnding === true
    if (batch.length > 0 && (alone || weight + next > BATCH_MAX_BYTES || batch.length === BATCH_MAX_EVENTS)) break
    batch.push(draft)
    weight += next
  }
  return batch
}

export type Outbox = {
  push(draft: Draft): void
  /** The next events to write together, in order; empty when there are none. */
  take(): Draft[]
  clear(): void
  readonly size: number
  readonly bytes: number
}

export const createOutbox = (maxBytes = OUTBOX_MAX_BYTES): Outbox => {
  let drafts: Draft[] = []
  let bytes = 0
  let saveAt = maxBytes

  const push = (draft: Draft) => {
    if (bytes > maxBytes && DISPENSABLE.has(draft.type)) return
    const last = drafts.at(-1)
    const joined = last === undefined ? undefined : joinDeltas(last, draft)
    if (last !== undefined && joined !== undefined) {
      drafts[drafts.length - 1] = joined
      bytes += weigh(joined) - weigh(last)
    } else {
      drafts.push(draft)
      bytes += weigh(draft)
    }
    if (bytes <= saveAt) return
    drafts = saveRoom(drafts)
    bytes = weighAll(drafts)
    saveAt = Math.max(maxBytes, bytes + CROWDED_DELTA_MAX_BYTES)
  }

  const take = (): Draft[] => {
    const batch = nextBatch(drafts)
    drafts = drafts.slice(batch.length)
    bytes = weighAll(drafts)
    saveAt = Math.max(maxBytes, bytes + CROWDED_DELTA_MAX_BYTES)
    return batch
  }

  return {
    push,
    take,
    clear: () => {
      drafts = []
      bytes = 0
    },
    get size() {
      return drafts.length
    },
    get bytes() {
      return bytes
    },
  }
}
