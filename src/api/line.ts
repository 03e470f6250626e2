import type { QueuePlace } from '#contracts/http.ts'
import type { Run } from '#contracts/run.ts'
import type { LineSnapshot } from './line-snapshot.ts'

/** Where runs are in the waiting line, for all clients of this process together. */
export type Line = Disposable & {
  /** Now, or a moment ago; `undefined`: it does not wait (any more). */
  placeOf(run: Pick<Run, 'run_id' | 'state'>): Promise<QueuePlace | undefined>
  /** Tells a place as soon as it is known, and when it has changed, until the function that comes back is called. */
  follow(runId: string, tell: (place: QueuePlace) => void): () => void
}

export type LineOptions = {
  readonly snapshot: () => Promise<LineSnapshot>
  readonly onError: (error: unknown) => void
  /** Milliseconds between two looks at the line. */
  readonly everyMs?: number
}

const EVERY_MS = 1_000

/** Most runs start sooner than this: there is no need to look where they are in the line. */
const FIRST_MS = 200

/** Looking may take this part of the time: a line so long that this is slow is looked at less often. */
const SHARE = 20

/** Those behind this place are told every so many milliseconds at most: it is long until their turn, and they are many. */
const FAR = { behind: 100, everyMs: 10_000 }

type Listener = {
  readonly runId: string
  readonly tell: (place: QueuePlace) => void
  told?: QueuePlace
  at: number
}

const isNews = ({ told, at }: Listener, place: QueuePlace): boolean => {
  if (told === undefined) return true
  const waited = performance.now() - at >= FAR.everyMs
  if (place.position !== told.position) return place.position <= FAR.behind || waited
  return place.estimate_seconds !== told.estimate_seconds && waited
}

export const createLine = ({ snapshot, onError, everyMs = EVERY_MS }: LineOptions): Line => {
  const listeners = new Set<Listener>()
  let last: LineSnapshot | undefined
  let takenAt = -Infinity
  let tookMs = 0
  let taking: Promise<LineSnapshot> | undefined
  let timer: NodeJS.Timeout | undefined
  let closed = false

  const pauseMs = () => Math.max(everyMs, SHARE * tookMs)
  const take = async (): Promise<LineSnapshot> => {
    const begun = performance.now()
    try {
      last = await snapshot()
      takenAt = performance.now()
      tookMs = takenAt - begun
      return last
    } finally {
      taking = undefined
    }
  }
  const current = async (): Promise<LineSnapshot> => {
    if (last !== undefined && performance.now() - takenAt < pauseMs()) return last
    taking ??= take()
    return taking
  }
  const tellAll = (line: LineSnapshot): void => {
    for (const listener of listeners) {
      const place = line.placeOf(listener.runId)
      if (place === undefined || !isNews(listener, place)) continue
      listener.told = place
      listener.at = performance.now()
      listener.tell(place)
    }
  }
  const schedule = (ms: number): void => {
    if (closed || timer !== undefined || listeners.size === 0) return
    timer = setTimeout(async () => {
      try {
        // They may all have left meanwhile.
        if (listeners.size > 0) tellAll(await current())
      } catch (error) {
        onError(error)
      }
      timer = undefined
      schedule(pauseMs())
    }, ms)
    timer.unref()
  }

  return {
    async placeOf({ run_id, state }) {
      return state === 'queued' ? (await current()).placeOf(run_id) : undefined
    },
    follow(runId, tell) {
      const listener: Listener = { runId, tell, at: 0 }
      listeners.add(listener)
      schedule(FIRST_MS)
      return () => void listeners.delete(listener)
    },
    [Symbol.dispose]() {
      closed = true
      clearTimeout(timer)
      listeners.clear()
    },
  }
}
