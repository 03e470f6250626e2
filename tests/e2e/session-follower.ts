import type { SessionEvent } from '#contracts/events.ts'
import { sleep, waitFor } from '../helpers.ts'

/** One stored event as it came over the wire. */
export type Frame = { readonly id: number; readonly event: string; readonly data: string }

export type SessionFollower = AsyncDisposable & {
  /** Everything received so far, in the order of its arrival, over all connections; what came twice is here twice. */
  readonly frames: readonly Frame[]
  readonly events: readonly SessionEvent[]
  /** How often it connected. */
  readonly connections: number
  /** The first event for which `test` holds, waited for. */
  until(what: string, test: (event: SessionEvent) => boolean, timeoutMs?: number): Promise<SessionEvent>
  /** Resolves when the server says that nothing more can come (204). Rejects when it refuses (4xx). */
  readonly done: Promise<void>
  /** Breaks the connection off, as a network would; it comes back with the last id it saw. */
  cut(): void
}

const RETRY_MS = 100

const frameOf = (block: string): Frame | undefined => {
  const field = (name: string) => new RegExp(`^${name}: (.*)$`, 'm').exec(block)?.[1]
  const [id, event, data] = [field('id'), field('event'), field('data')]
  return id === undefined || event === undefined || data === undefined ? undefined : { id: Number(id), event, data }
}

/** The frames with an id: the others are news of the moment. */
export const framesOf = async function* (body: AsyncIterable<Uint8Array>): AsyncGenerator<Frame> {
  const decoder = new TextDecoder()
  let rest = ''
  for await (const chunk of body) {
    const blocks = (rest + decoder.decode(chunk, { stream: true })).split('\n\n')
    rest = blocks.pop() ?? ''
    yield* blocks.map(frameOf).filter((frame) => frame !== undefined)
  }
}

export type FollowOptions = {
  /** A slow reader: so many milliseconds for each event. */
  readonly perEventMs?: number
}

/**
 * Follows events as a patient client does: whatever breaks, it connects again with the last id it saw, to the next of the
 * addresses, until the server answers 204.
 */
export const followEvents = (
  addresses: readonly [string, ...string[]],
  { perEventMs = 0 }: FollowOptions = {},
): SessionFollower => {
  const frames: Frame[] = []
  const events: SessionEvent[] = []
  const end = new AbortController()
  let connection = new AbortController()
  let connections = 0

  const connect = async (address: string): Promise<'over' | 'again'> => {
    connection = new AbortController()
    const last = frames.at(-1)?.id
    const response = await fetch(address, {
      headers: { accept: 'text/event-stream', ...(last !== undefined && { 'last-event-id': String(last) }) },
      signal: AbortSignal.any([connection.signal, end.signal]),
    })
    if (response.status === 204) return 'over'
    if (response.status >= 500) return 'again'
    if (response.status !== 200 || response.body === null) {
      throw new RangeError(`${address} answered ${response.status}: ${await response.text()}`)
    }
    connections++
    for await (const frame of framesOf(response.body)) {
      frames.push(frame)
      const event = JSON.parse(frame.data) as SessionEvent & { timestamp: string }
      events.push({ ...event, timestamp: new Date(event.timestamp) })
      if (perEventMs > 0) await sleep(perEventMs)
    }
    return 'again'
  }

  const run = async (): Promise<void> => {
    for (let turn = 0; !end.signal.aborted; turn++) {
      const address = addresses[turn % addresses.length] ?? addresses[0]
      const outcome = await connect(address).catch((error: unknown): 'again' => {
        if (error instanceof RangeError) throw error
        return 'again'
      })
      if (outcome === 'over') return
      await sleep(RETRY_MS)
    }
  }
  const done = run()
  done.catch(() => {})

  return {
    frames,
    events,
    get connections() {
      return connections
    },
    async until(what, test, timeoutMs = 60_000) {
      try {
        return await waitFor(() => events.find(test), { what, timeoutMs })
      } catch (cause) {
        throw new Error(`no ${what}; seen: ${events.map(shown).join(' ')}`, { cause })
      }
    },
    done,
    cut: () => connection.abort(),
    async [Symbol.asyncDispose]() {
      end.abort()
      await done.catch(() => {})
    },
  }
}

const shown = (event: SessionEvent): string =>
  event.event_type === 'run_state' ? `run_state:${event.data.state}` : event.event_type
