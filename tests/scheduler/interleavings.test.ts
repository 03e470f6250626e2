import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { jobOf } from '#contracts/job.ts'
import type { Run } from '#contracts/run.ts'
import { acceptRun } from '#store/accept-run.ts'
import { cancelRun } from '#store/cancel-run.ts'
import { newRunOf, shuffler } from '../conformance/store-world.ts'
import { agent } from '../fakes/scripted-agent.ts'
import type { ScriptedRunner } from '../fakes/scripted-box.ts'
import { exits } from '../fakes/scripted-runners.ts'
import { sleep } from '../helpers.ts'
import type { ScriptedWorker } from './scripted-worker.ts'
import { openWorld, type World } from './world.ts'

/** How long this test may look for trouble, milliseconds; further seeds are left out after that. */
const BUDGET_MS = 9_000
const AT_ONCE = 6
const FIRST_SEED = Number(process.env.SEED ?? 1)
/** Requests and faults of one world, a few milliseconds apart. */
const STEPS = 60

/** So short that an owner is often given up while it lives: no promise may hang on that. */
const TIMINGS = {
  heartbeat: 12,
  stale: 60,
  stopGrace: 20,
  exitGrace: 20,
  enginePatience: 60,
  reconcile: 25,
  reconcileGrace: 30,
  engineLost: 60_000,
}

type Dice = { (): number; pick<T>(of: readonly T[]): T; upTo(n: number): number }

const createDice = (seed: number): Dice => {
  const next = shuffler(seed * 7_919)
  const upTo = (n: number) => Math.min(n - 1, Math.floor(next() * n))
  return Object.assign(next, { upTo, pick: <T>(of: readonly T[]) => of[upTo(of.length)] as T })
}

/** Knows which containers work on a workspace just now, and whether two ever did at once. */
const createGuard = (store: World['store'], dice: Dice) => {
  const working = new Map<string, string>()
  const clashes: string[] = []
  const runner: ScriptedRunner = async (self) => {
    const { workspace_id, run_id } = self.spec
    const beforeStep = async () => {
      const other = working.get(workspace_id)
      if (other !== undefined && other !== self.containerId) clashes.push(`${run_id}: ${other} is at work`)
      working.set(workspace_id, self.containerId)
      self.print('x')
      await sleep(dice.upTo(15))
    }
    self.killed.addEventListener('abort', () => {
      if (working.get(workspace_id) === self.containerId) working.delete(workspace_id)
    })
    const kind = dice()
    if (kind < 0.05) return exits(66)(self)
    return agent(store.events, { steps: 1 + dice.upTo(3), beforeStep, ...(kind > 0.8 && { onTerm: 'ignore' }) })(self)
  }
  return { runner, clashes }
}

type Scene = {
  readonly world: World
  readonly dice: Dice
  readonly runs: Run[]
  readonly workers: ScriptedWorker[]
  readonly asleep: ScriptedWorker[]
  /** Runs at work at once, in some worlds. */
  readonly limits: { readonly maxRunning?: number; readonly maxRunningPerTenant?: number }
}

const addWorker = ({ world, dice, workers, limits }: Scene, timings = TIMINGS): void => {
  const worker = world.worker({ timings, config: { ...limits, concurrency: 1 + dice.upTo(3) }, deaf: dice() < 0.2 })
  worker.process.jitter = async () => {
    if (dice() < 0.1) await sleep(dice.upTo(4))
    else if (dice() < 0.5) await turn()
  }
  workers.push(worker)
  worker.start()
}

/** What a client does: two sessions share a workspace, and a third has its own. */
const request = async ({ world, dice, runs }: Scene): Promise<void> => {
  const [session_id, workspace_id] = dice.pick([
    ['a', 'w1'],
    ['b', 'w1'],
    ['c', 'w2'],
  ] as const)
  const queue_deadline_at = new Date(Date.now() + (dice() < 0.1 ? 20 : 60_000))
  const options = dice() < 0.1 ? { timeout_seconds: 1 } : {}
  // One that came a while ago is chosen among all that wait, a fresh one is not.
  const created_at = new Date(Date.now() - dice.pick([0, 60_000]))
  const asked = newRunOf({ session_id, workspace_id, created_at, queue_deadline_at, options })
  const result = await acceptRun(world.store, asked)
  if (result.outcome !== 'accepted') return
  runs.push(result.run)
  if (dice() < 0.8) await world.queue.enqueue(jobOf(result.run))
}

const LIMITS = [{}, { maxRunning: 1 }, { maxRunning: 2, maxRunningPerTenant: 1 }] as const

const FAULT: Record<string, (scene: Scene) => Promise<void> | void> = {
  async cancel({ world, dice, runs }) {
    const run = runs.at(-1 - dice.upTo(2))
    if (run) await cancelRun(world.store, await world.run(run), 'api')
  },
  sleep({ dice, workers, asleep }) {
    const worker = dice.pick(workers)
    worker.process.sleep()
    asleep.push(worker)
  },
  wake({ asleep }) {
    asleep.shift()?.process.wake()
  },
  die(scene) {
    const [worker] = scene.workers.splice(scene.dice.upTo(scene.workers.length), 1)
    worker?.die()
    addWorker(scene)
  },
  async term(scene) {
    const [worker] = scene.workers.splice(scene.dice.upTo(scene.workers.length), 1)
    if (worker && !scene.asleep.includes(worker)) await worker.stop()
    addWorker(scene)
  },
  forget({ world }) {
    world.queue.forget()
  },
  double({ world, dice }) {
    world.queue.copies = 1 + dice.upTo(3)
  },
  kill({ world, dice }) {
    if (world.engine.boxes.length > 0) dice.pick(world.engine.boxes).end(137)
  },
  lose({ world, dice, runs }) {
    if (runs.length > 0) world.engine.lose(dice.pick(runs).run_id)
  },
  async outage({ world, dice }) {
    world.engine.goAway()
    await sleep(dice.upTo(120))
    world.engine.comeBack()
  },
  async cutOff({ dice, workers }) {
    const worker = dice.pick(workers)
    worker.process.cutOff = dice.pick(['runs.', 'events.', 'logs.', 'queue.'])
    await sleep(dice.upTo(40))
    worker.process.cutOff = undefined
  },
}

const play = async (t: TestContext, seed: number): Promise<string[]> => {
  const dice = createDice(seed)
  const guard: { clashes: string[] } = { clashes: [] }
  const world = await openWorld(t, (store) => Object.assign(guard, createGuard(store, dice)).runner)
  const scene: Scene = { world, dice, runs: [], workers: [], asleep: [], limits: dice.pick(LIMITS) }
  for (let n = 0; n < 2; n++) addWorker(scene)
  for (let n = 0; n < STEPS; n++) {
    if (dice() < 0.7) await request(scene)
    else await FAULT[dice.pick(Object.keys(FAULT))]?.(scene)
    await sleep(dice.upTo(12))
  }
  // From here on nothing goes wrong, and some never wake.
  const late = scene.asleep.splice(0)
  // Nor is an owner given up any more that is merely slow, as on a machine with much to do.
  for (const worker of [...scene.workers, ...late]) Object.assign(worker.ctx.config.timings, { stale: 1_000 })
  for (const worker of late) {
    if (dice() < 0.5) worker.process.wake()
    else worker.expire()
  }
  addWorker(scene, { ...TIMINGS, stale: 1_000 })
  const causes: string[] = []
  for (const run of scene.runs) causes.push((await world.over(run)).data.cause)
  const logs = await Promise.all(scene.runs.map((run) => world.log(run)))
  for (const worker of late) worker.process.wake()
  await sleep(30)
  for (const run of scene.runs) await world.over(run)
  assert.deepEqual(await Promise.all(scene.runs.map((run) => world.log(run))), logs, 'who wakes late writes nothing')
  assert.deepEqual(guard.clashes, [], 'never two containers at work on one workspace')
  return causes
}

test('random interleavings, crashes, sleepers and outages break no promise', async (t) => {
  const end = Date.now() + BUDGET_MS
  let seed = FIRST_SEED
  const ended = new Map<string, number>()
  const player = async () => {
    while (Date.now() < end) {
      const mine = seed++
      try {
        for (const cause of await play(t, mine)) ended.set(cause, (ended.get(cause) ?? 0) + 1)
      } catch (error) {
        throw new Error(`seed ${mine} breaks a promise: ${error instanceof Error ? error.message : error}`, {
          cause: error,
        })
      }
    }
  }
  await Promise.all(Array.from({ length: AT_ONCE }, player))
  const runs = [...ended.values()].reduce((sum, n) => sum + n, 0)
  t.diagnostic(`${runs} runs in ${seed - FIRST_SEED} worlds: ${JSON.stringify(Object.fromEntries(ended))}`)
  assert(runs > 10)
})
