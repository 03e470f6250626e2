import { planFaults } from './plan-faults.ts'
import { planSessions } from './plan-sessions.ts'
import { createRandom } from './random.ts'

/** How agents of a session reach the outside. */
export type Channel = 'gateway' | 'direct'

export const CHANNELS = ['gateway', 'direct'] as const satisfies readonly Channel[]

/** How a run behaves; `prompts.ts` says what each one does. */
export const MANNERS = ['quiet', 'chatty', 'long', 'failing', 'violent', 'frozen', 'deaf', 'background'] as const
/** `steady` is what sessions of a rollout do. */
export type Manner = (typeof MANNERS)[number] | 'steady'

/** How a client follows: patiently, slowly, or breaking its connection off again and again. */
export type ClientPlan =
  | { readonly habit: 'patient' }
  | { readonly habit: 'slow'; readonly perEventMs: number }
  | { readonly habit: 'dropping'; readonly everyMs: number }

export type RunPlan = {
  readonly manner: Manner
  readonly words: number
  readonly paceMs: number
  readonly timeoutSeconds: number
  /** The client stops it so long after it was accepted. */
  readonly stopAfterMs?: number
  readonly clients: readonly ClientPlan[]
}

export type SessionPlan = {
  readonly name: string
  readonly channel: Channel
  /** Milliseconds after the session before it. */
  readonly gapMs: number
  /** Comes in a crowd: does not wait for a place. */
  readonly crowd: boolean
  /** One after the other, each as soon as the one before has its `finish`. */
  readonly runs: readonly RunPlan[]
  /** Works in the workspace of this other session. */
  readonly workspaceOf?: string
}

export const FAULT_KINDS = [
  'worker.kill',
  'worker.sleep',
  'worker.term',
  'api.kill',
  'api.term',
  'redis.kill',
  'redis.pause',
  'redis.flush',
  'mongod.kill',
  'mongod.pause',
  'dockerd.kill',
  'container.kill',
  'container.remove',
  'container.pause',
  'runner.kill',
  'model.cut',
  'store.cut',
  'disk.fill',
  'power.cut',
  'house.roll',
] as const
export type FaultKind = (typeof FAULT_KINDS)[number]

export type FaultPlan = {
  readonly kind: FaultKind
  readonly channel: Channel
  /** It strikes `delayMs` after this session (its number in the plan) has begun: at the same point on a slow machine. */
  readonly after: number
  readonly delayMs: number
  readonly lastsMs: number
  /** From 0, below 1: which one of those that are there is hit. */
  readonly pick: number
}

export type Plan = {
  readonly seed: number
  /** There is a house for each. */
  readonly channels: readonly Channel[]
  /** How agents of the gateway channel come to it: by the socket of their run, or over TCP by a balancer before all workers. */
  readonly gateway: 'socket' | 'tcp'
  /** Of the environment of APIs and workers. */
  readonly env: Readonly<Record<string, string>>
  /** Containers outlive their Docker daemon. */
  readonly liveRestore: boolean
  /** Containers that each worker keeps waiting. */
  readonly pool: number
  readonly sessions: readonly SessionPlan[]
  /** In the order in which they strike. */
  readonly faults: readonly FaultPlan[]
}

export type PlanOptions = {
  readonly seed: number
  readonly sessions: number
  /** Milliseconds over which sessions arrive, if there is a place for each. */
  readonly durationMs: number
  readonly kinds: readonly FaultKind[]
}

/** Everything that will be done, from the seed alone. Pure: the same options give the same plan. */
export const makePlan = (options: PlanOptions): Plan => ({
  seed: options.seed,
  channels: CHANNELS,
  gateway: 'socket',
  env: {},
  liveRestore: createRandom(options.seed, 'dockerd').chance(0.5),
  pool: createRandom(options.seed, 'pool').one([0, 1, 2]),
  sessions: planSessions(options, createRandom(options.seed, 'sessions')),
  faults: planFaults(options, createRandom(options.seed, 'faults')),
})
