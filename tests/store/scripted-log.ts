import type { NewEvent, SessionEvent } from '#contracts/events.ts'
import type { EventLog } from '#store/event-log.ts'
import { createWakeUps } from '#store/wake-ups.ts'

/** An event log in memory, of which a test sees and decides everything. */
export type ScriptedLog = EventLog & {
  /** Stores without waking anybody. */
  put(...events: NewEvent[]): SessionEvent[]
  wake(sessionId: string, event: SessionEvent | undefined): void
  /** Awaited before and behind every read: a slow question, or a slow answer. Rejects = the store is out of reach. */
  gate: (what: 'list' | 'tail') => Promise<void>
  /** Holds back the answer of the next `list`: it is made, and does not arrive. */
  holdAnswer(): { readonly isHeld: () => boolean; readonly release: () => void }
  /** How many sessions each `grown` asked for. */
  readonly looks: number[]
  /** Reads so far: where each `list` began. */
  readonly lists: { after: number; limit: number }[]
  /** Subscriptions to `changes`, ever and now. */
  readonly subscriptions: { ever: number; now: number }
  /** Makes every open subscription throw. */
  breakChanges(): void
}

const refuse = async (): Promise<never> => {
  throw new Error('not part of this test')
}

export const createScriptedLog = (): ScriptedLog => {
  const logs = new Map<string, SessionEvent[]>()
  const of = (sessionId: string) => logs.get(sessionId) ?? []
  const subscriptions = { ever: 0, now: 0 }
  const lists: { after: number; limit: number }[] = []
  const looks: number[] = []
  const wakeUps = createWakeUps()
  let broken = new AbortController()
  const log: ScriptedLog = {
    lists,
    looks,
    subscriptions,
    gate: async () => {},
    append: refuse,
    marks: refuse,
    finished: refuse,
    put: (...events) =>
      events.map((event) => {
        const all = of(event.session_id)
        const stored = { ...event, seq: all.length + 1 }
        logs.set(event.session_id, [...all, stored])
        return stored
      }),
    wake(sessionId, event) {
      if (event === undefined) wakeUps.wakeAll()
      else if (event.session_id === sessionId) wakeUps.publish(event)
    },
    holdAnswer() {
      const before = log.gate
      const { promise, resolve } = Promise.withResolvers<void>()
      let calls = 0
      log.gate = async () => {
        calls += 1
        if (calls < 2) return
        log.gate = before
        await promise
      }
      return { isHeld: () => calls === 2, release: resolve }
    },
    breakChanges() {
      broken.abort(new Error('changes broke'))
      broken = new AbortController()
    },
    async list(sessionId, { after, limit, runId }) {
      lists.push({ after, limit })
      await log.gate('list')
      const page = of(sessionId)
        .filter((event) => event.seq > after && (runId === undefined || event.run_id === runId))
        .slice(0, limit)
      await log.gate('list')
      return page
    },
    async tail(sessionId) {
      await log.gate('tail')
      const last = of(sessionId).length
      await log.gate('tail')
      return last
    },
    async grown(places) {
      looks.push(places.size)
      await log.gate('tail')
      return [...places].filter(([sessionId, seq]) => of(sessionId).length > seq).map(([sessionId]) => sessionId)
    },
    async *changes(sessionId, signal) {
      const mine = broken.signal
      subscriptions.ever += 1
      subscriptions.now += 1
      try {
        yield* wakeUps.subscribe(sessionId, AbortSignal.any([signal, mine]))
        if (mine.aborted) throw mine.reason
      } finally {
        subscriptions.now -= 1
      }
    },
  }
  return log
}
