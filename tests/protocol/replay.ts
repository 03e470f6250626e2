import assert from 'node:assert/strict'
import type { TestContext } from 'node:test'
import type { NewEvent, SessionEvent } from '#contracts/events.ts'
import type { Run } from '#contracts/run.ts'
import type { Call } from '../fakes/scripted-process.ts'
import { waitFor } from '../helpers.ts'
import { toNewRun } from './client-moves.ts'
import type { Move } from './explore.ts'
import type { Gate } from './gate.ts'
import { type HeldClient, type HeldWorker, openRealWorld } from './real-world.ts'
import { modelView, realView } from './views.ts'
import { isOwned, LIVE, type Task, type World } from './world.ts'

/** The calls that one step of the model stands for, by the place that the task was at. */
const CALLS: Readonly<Record<string, readonly string[]>> = {
  'take.get': ['runs.get'],
  'take.blockers': ['runs.blockers'],
  'take.cas': ['runs.transition'],
  read: ['events.marks'],
  'orphan.read': ['events.marks'],
  'plan.find': ['engine.find'],
  'plan.token': ['runs.transition'],
  'start.start': ['engine.started'],
  'start.marks': ['events.marks'],
  'start.check': ['runs.transition'],
  'start.remove': ['engine.remove'],
  'open.cas': ['runs.transition'],
  'watch.exit': ['engine.wait'],
  'watch.marks': ['events.marks'],
  'anew.remove': ['engine.remove'],
  'end.check': ['runs.transition'],
  'end.marks': ['events.marks'],
  'end.announce': ['events.append'],
  'end.stopping': ['events.append'],
  'finish.list': ['events.tail'],
  'finish.marks': ['events.marks'],
  'tidy.exit': ['runs.transition'],
  'tidy.remove': ['engine.remove'],
  'tidy.gone': ['runs.transition'],
  'tidy.settle': ['runs.transition'],
  'queued.cas': ['runs.transition'],
  'lost.cas': ['runs.transition'],
  'owed.close': ['runs.transition'],
  'owed.open': ['runs.transition'],
  'act.enqueue': ['queue.enqueue'],
  'act.remove': ['engine.remove'],
  over: [],
}

type Step = { readonly before: World; readonly move: Move<World> }

const eventsOf = (w: World): readonly SessionEvent[] => Object.values(w.logs).flat()

const added = ({ before, move }: Step): SessionEvent[] => {
  const known = new Set(eventsOf(before).map((event) => event._id))
  return eventsOf(move.next).filter((event) => !known.has(event._id))
}

const numberOf = (boxId: string): [string, number] => [
  boxId.slice(0, boxId.lastIndexOf('.')),
  Number(boxId.split('.').at(-1)),
]

/** Asked ahead by a handler that is over and did not need the answer: no step of the model, and nobody waits for it. */
const forgetEarly = async (gate: Gate): Promise<void> => {
  for (const name of ['runs.blockers', 'events.marks']) while (gate.waits(name)) await gate.next(name)
}

/** Plays moves of the model with the real code, and compares the worlds after each. */
export const createReplay = async (t: TestContext, initial: World) => {
  const real = await openRealWorld(t, [...new Set(initial.workers.map(({ engine }) => engine))])
  const workers = initial.workers.map(({ engine }) => real.worker(engine))
  const clients = initial.clients.map(() => real.client())

  /** An owner is silent in the code's eyes exactly when it is in the model's. */
  const tellTime = async (w: World): Promise<void> => {
    for (const run of Object.values(w.runs).filter(({ state }) => LIVE.includes(state))) {
      const expect = { attempt: run.attempt, from: [run.state] }
      await real.store.runs.transition(run.run_id, expect, { seen_at: isOwned(w, run) ? new Date() : new Date(0) })
    }
  }

  const follow = async (worker: HeldWorker, run: Run): Promise<void> => {
    const { finish, cancelRequested, stopping } = await real.store.events.marks(run.session_id, run.run_id)
    const event = finish ?? cancelRequested ?? stopping
    assert(event !== undefined)
    worker.meet(event)
  }

  const stopAndWait = async (gate: Gate, step: Step, task: Task): Promise<void> => {
    const { what } = step.move
    const [run, n] = numberOf(/ (\S+): (?:TERM|KILL)/.exec(what)?.[1] ?? '')
    if (what.includes('KILL')) return real.box(run, n)?.end(137)
    if (task.at === 'end.stop' || task.at === 'tidy.leave')
      await gate.next('engine.stop', undefined, what.includes('TERM') ? 'begun' : 'done')
    if (task.at !== 'end.stop' && !what.includes('TERM')) await gate.next('engine.wait')
  }

  const appendFinish = async (gate: Gate, { move }: Step): Promise<void> => {
    await gate.next('events.append', (call: Call) => (call.args[1] as NewEvent[]).at(-1)?.event_type === 'finish')
    if (!move.what.includes('): stored')) return
    // It looks once more, and finds its own.
    await gate.next('events.tail')
    await gate.next('events.marks')
  }

  const doTask = async (gate: Gate, step: Step, task: Task): Promise<void> => {
    const { at } = task
    if (at === 'finish.append') return appendFinish(gate, step)
    if (/^(end\.stop|end\.wait|tidy\.leave|tidy\.wait)$/.test(at)) return stopAndWait(gate, step, task)
    if (at === 'start.create') return gate.next('engine.start', undefined, 'begun')
    const calls = CALLS[at]
    assert(calls !== undefined, `no call is known for ${at}`)
    // A run that was never taken up is followed as a whole.
    if (at === 'read' && !task.fresh) await gate.next('events.tail')
    for (const name of calls) await gate.next(name)
    if (at !== 'read' || added(step).length === 0) return
    // Asked beside the take-up it may have come too early: it is asked again before the run is announced.
    if (task.fresh) await gate.next('events.marks')
    await gate.next('events.append')
  }

  const beginPass = async (worker: HeldWorker, { before }: Step, task: Task): Promise<void> => {
    const run = before.runs[task.run_id] as Run
    if (task.at === 'act.remove') {
      const [id, n] = numberOf(task.box ?? '')
      worker.reconcile({ boxId: real.box(id, n)?.containerId ?? '' })
      return worker.pass.next('runs.get')
    }
    worker.reconcile({ runId: task.run_id })
    const looks = run.state !== 'finished' && task.why !== 'lost engine'
    if (looks) await worker.pass.next('events.marks')
  }

  const doWorker = async (n: number, part: 'slot' | 'pass', step: Step): Promise<void> => {
    const worker = workers[n] as HeldWorker
    const task = step.before.workers[n]?.[part]
    await tellTime(step.before)
    if (task !== undefined && step.move.what.startsWith('follows the log'))
      return follow(worker, step.before.runs[task.run_id] as Run)
    if (task?.at.startsWith('take.') && step.move.next.workers[n]?.slot === undefined) worker.handBack()
    if (task !== undefined) return doTask(worker[part], step, task)
    const begun = step.move.next.workers[n]?.[part] as Task
    if (part === 'pass') return beginPass(worker, step, begun)
    await forgetEarly(worker.slot)
    worker.handle(step.before.runs[begun.run_id] as Run)
  }

  const doClient = async (n: number, step: Step): Promise<void> => {
    const { at, task, wishes, retries } = step.before.clients[n] as World['clients'][number]
    const [wish] = wishes
    const client = clients[n] as HeldClient
    if (task !== undefined) return doTask(client.gate, step, task)
    const first = wish?.do === 'cancel' ? 'runs.get' : 'runs.accept'
    const calls: Record<string, string> = {
      accept: first,
      holder: 'events.marks',
      release: 'runs.releaseLock',
      cancel: 'events.append',
      enqueue: 'queue.enqueue',
      'announce.last': 'events.append',
    }
    if (at === 'accept') {
      if (wish?.do === 'cancel') client.cancel(wish.run_id)
      // A holder that is over is cleared away within one request.
      else if (wish !== undefined && !client.gate.waits('runs.accept'))
        client.generate(toNewRun(wish, retries, new Date()))
    }
    if (at === 'announce' && step.move.what.startsWith('enqueues')) return client.gate.next('queue.enqueue')
    if (at === 'announce') {
      if (wish?.do === 'cancel') await client.gate.next('events.marks')
      if (wish?.do !== 'cancel' || added(step).length > 0) await client.gate.next('events.append')
      return
    }
    await client.gate.next(calls[at] ?? at)
  }

  const doRunner = async (boxId: string, step: Step): Promise<void> => {
    const [event] = added(step)
    if (event !== undefined) {
      const { seq: _seq, ...said } = event
      await real.store.events.append(event.session_id, [{ ...said, timestamp: new Date() }])
    }
    const box = step.move.next.boxes.find(({ id }) => id === boxId)
    if (box?.state === 'exited') real.box(...numberOf(boxId))?.end(box.code)
  }

  const doContainer = (boxId: string, { move }: Step): void => {
    const [runId, n] = numberOf(boxId)
    if (move.what === 'is killed') real.box(runId, n)?.end(137)
    if (move.what === 'is removed by somebody') for (const engine of real.engines.values()) engine.lose(runId)
  }

  const doFault = (who: string, n: number, what: string): void => {
    const dead = who === 'client' || what.startsWith('dies')
    if (dead && who === 'client') clients[n] = real.client()
    if (dead && who === 'worker') workers[n] = real.worker(initial.workers[n]?.engine ?? '')
  }

  const passQuarantine = async (w: World): Promise<void> => {
    for (const { run_id, attempt, state, quarantine_until } of Object.values(w.runs)) {
      if (quarantine_until?.getTime() === 0)
        await real.store.runs.transition(run_id, { attempt, from: [state] }, { quarantine_until })
    }
  }

  const act = async (step: Step): Promise<void> => {
    const { who, what, kind } = step.move
    const [name = '', id = ''] = who.split(' ').filter((word) => word !== 'in')
    const n = Number(id) - 1
    if (kind !== 'step' && name !== 'container') return doFault(name, n, what)
    if (name === 'client') return doClient(n, step)
    if (name === 'worker') return doWorker(n, 'slot', step)
    if (name === 'reconcile') return doWorker(n, 'pass', step)
    if (name === 'runner') return doRunner(id, step)
    if (name === 'container') return doContainer(id, step)
    if (name === 'time') return passQuarantine(step.move.next)
  }

  return async (step: Step): Promise<void> => {
    for (const [n, { slot, pass }] of workers.entries()) {
      // A copier of logs looks for the container, too.
      const finds = [step.before, step.move.next].some((w) => w.workers[n]?.slot?.at === 'plan.find')
      slot.frees('engine.find', !finds)
      pass.frees('engine.find', true)
    }
    await act(step)
    const expected = modelView(step.move.next)
    let seen = await realView(real, step.move.next)
    const same = async () => {
      seen = await realView(real, step.move.next)
      return JSON.stringify(seen) === JSON.stringify(expected)
    }
    await waitFor(same, { what: 'the code to do as the model', everyMs: 1, timeoutMs: 20_000 }).catch(() =>
      assert.deepEqual(seen, expected),
    )
  }
}
