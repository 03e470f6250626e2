import type { TestContext } from 'node:test'
import type { SessionEvent } from '#contracts/events.ts'
import { jobOf } from '#contracts/job.ts'
import type { NewRun, Run } from '#contracts/run.ts'
import { reconcile } from '#scheduler/reconcile.ts'
import { createRunHandler } from '#scheduler/run-session.ts'
import type { Timings, WorkerContext } from '#scheduler/worker-context.ts'
import { acceptRun } from '#store/accept-run.ts'
import { cancelRun } from '#store/cancel-run.ts'
import type { Follower } from '#store/follow.ts'
import type { Store } from '#store/store.ts'
import type { ScriptedBox } from '../fakes/scripted-box.ts'
import { createScriptedEngine, type ScriptedEngine } from '../fakes/scripted-engine.ts'
import type { Call } from '../fakes/scripted-process.ts'
import { ignoresTerm } from '../fakes/scripted-runners.ts'
import { openWorld } from '../scheduler/world.ts'
import { createGate, type Gate } from './gate.ts'

const HOUR = 3_600_000

/** No clock of the code may decide anything: the order is the model's. Only a `finish` gives a runner no time to leave. */
const TIMINGS: Timings = {
  heartbeat: HOUR,
  stale: HOUR,
  stopGrace: HOUR,
  exitGrace: 1,
  handOff: HOUR,
  enginePatience: HOUR,
  reconcile: HOUR,
  reconcileGrace: -1,
  engineLost: -1,
  quarantine: HOUR,
}

/** A worker of the real code, held at each of its calls; its two halves share what it holds, and nothing else. */
export type HeldWorker = {
  readonly slot: Gate
  readonly pass: Gate
  /** Begins to work on a job, or to reconcile this run only. */
  handle(run: Run): void
  /** A handler that does not get its run offers the job again, rather than to look for another run. */
  handBack(): void
  reconcile(of: Only): void
  /** Its follower meets this event. */
  meet(event: SessionEvent): void
}

export type HeldClient = {
  readonly gate: Gate
  generate(run: NewRun): void
  cancel(runId: string): void
}

export type RealWorld = {
  readonly store: Store
  readonly engines: ReadonlyMap<string, ScriptedEngine>
  worker(engine: string): HeldWorker
  client(): HeldClient
  /** The `n`th container of a run, from 1. */
  box(runId: string, n: number): ScriptedBox | undefined
}

/** Read without changing anything, or known to nobody but their caller. */
const FREE = new Set([
  'events.list',
  'runs.touchEngine',
  'runs.engineSeen',
  'runs.unsettled',
  'runs.queued',
  'engine.list',
  'engine.check',
  'engine.attest',
])

const saysState = ({ name, args }: Call, states: readonly string[]): boolean =>
  name === 'events.append' &&
  (args[1] as { data: { state?: string } }[]).every(({ data }) => states.includes(data.state ?? ''))

/** The one run, or container, that a pass of reconcile is to look at: in the model a pass does one thing. */
type Only = { readonly runId?: string; readonly boxId?: string }

const onlyOf = (runs: Store['runs'], only: () => Only): Store['runs'] => {
  const chosen = (list: readonly Run[]) => list.filter((run) => run.run_id === only().runId)
  return {
    ...runs,
    unsettled: async (limit) => chosen(await runs.unsettled(limit)),
    queued: async (limit) => chosen(await runs.queued(limit)),
  }
}

/** As a handler sees them whose job has just come, with nobody before it: it works on that job's run. */
const freshOf = (runs: Store['runs']): Store['runs'] => ({
  ...runs,
  async get(runId) {
    const run = await runs.get(runId)
    return run && { ...run, created_at: new Date(Date.now() + HOUR) }
  },
})

/** Follows nothing by itself: the test says which event comes. */
const createHeldFollower = () => {
  const waiting = new Set<PromiseWithResolvers<SessionEvent | undefined>>()
  const follow: Follower['follow'] = async function* (_session, { signal }) {
    for (;;) {
      const next = Promise.withResolvers<SessionEvent | undefined>()
      waiting.add(next)
      signal?.addEventListener('abort', () => next.resolve(undefined), { once: true })
      if (signal?.aborted) return
      const event = await next.promise
      waiting.delete(next)
      if (event === undefined) return
      yield event
    }
  }
  const meet = (event: SessionEvent) => {
    for (const next of waiting) next.resolve(event)
  }
  return { follower: { follow, open: () => waiting.size, async [Symbol.asyncDispose]() {} }, meet }
}

export const openRealWorld = async (t: Pick<TestContext, 'after'>, names: readonly string[]): Promise<RealWorld> => {
  const world = await openWorld(t, () => ignoresTerm)
  const starters = new Map<AbortSignal, Gate>()
  const beforeStart = async (_spec: unknown, signal: AbortSignal): Promise<void> => {
    await starters.get(signal)?.hold('engine.started', signal)
  }
  const engines = new Map(
    names.map((engineId) => [engineId, createScriptedEngine({ engineId, runner: ignoresTerm, beforeStart })] as const),
  )
  const gates: Gate[] = []
  t.after(() => {
    for (const gate of gates) gate.bury()
    for (const { boxes } of engines.values()) for (const box of boxes) box.end(137)
  })

  const openGate = (): Gate => {
    const gate = createGate((call) => FREE.has(call.name) || saysState(call, ['starting', 'running']))
    gates.push(gate)
    return gate
  }

  const worker = (engineId: string): HeldWorker => {
    const [slot, pass] = [openGate(), openGate()]
    const engine = engines.get(engineId) as ScriptedEngine
    const { follower, meet } = createHeldFollower()
    const { ctx: base } = world.worker({ timings: TIMINGS })
    const held = new Set<string>()
    let only: Only = {}
    const contextOf = (gate: Gate, runs: Store['runs']): WorkerContext => ({
      ...base,
      store: {
        events: gate.port('events', world.store.events),
        runs: gate.port('runs', runs),
        logs: world.store.logs,
      },
      follower,
      queue: gate.port('queue', world.queue),
      engine: gate.port('engine', {
        ...engine,
        // What holds the container is no part of the protocol.
        attest: () => new Promise(() => {}),
        list: async () =>
          (await engine.list()).filter((box) => box.run_id === only.runId || box.containerId === only.boxId),
        start(spec, jobLine, signal) {
          starters.set(signal, gate)
          return engine.start(spec, jobLine, signal)
        },
      }),
      engineId,
      held,
    })
    const handler = createRunHandler(contextOf(slot, freshOf(world.store.runs)))
    const reconciler = contextOf(
      pass,
      onlyOf(world.store.runs, () => only),
    )
    let stop = new AbortController()
    return {
      slot,
      pass,
      handle(run) {
        stop = new AbortController()
        void handler(jobOf(run), stop.signal).catch(() => {})
      },
      handBack: () => stop.abort(),
      reconcile(of) {
        only = of
        void reconcile(reconciler).catch(() => {})
      },
      meet,
    }
  }

  const client = (): HeldClient => {
    const gate = openGate()
    const store = {
      events: gate.port('events', world.store.events),
      runs: gate.port('runs', world.store.runs),
    }
    const queue = gate.port('queue', world.queue)
    const hint = (run: Run) => queue.enqueue(jobOf(run))
    const cancel = async (runId: string) => {
      const run = await store.runs.get(runId)
      if (run && (await cancelRun(store, run, 'api')) === 'stopping') await hint(run)
    }
    return {
      gate,
      generate: (run) => void acceptRun(store, run, hint).catch(() => {}),
      cancel: (runId) => void cancel(runId).catch(() => {}),
    }
  }

  const box = (runId: string, n: number) =>
    [...engines.values()].flatMap(({ boxes }) => boxes.filter(({ spec }) => spec.run_id === runId))[n - 1]
  return { store: world.store, engines, worker, client, box }
}
