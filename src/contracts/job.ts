import * as z from 'zod'
import { FRAMEWORK_NAMES } from './frameworks.ts'
import { ClientId } from './ids.ts'
import type { ModelPrice } from './prices.ts'

/**
 * What travels through the queue: a hint that there is work. Everything else is in the run document. Whose it is and where, as the
 * document says and never changes, lets a worker ask what is in its way before it has read that; a hint does without.
 */
export type QueueJob = {
  readonly run_id: string
  readonly session_id: string
  readonly tenant_id?: string
  readonly workspace_id?: string
}

/** The hint for a run. Pure. */
export const jobOf = ({ run_id, session_id, tenant_id, workspace_id }: QueueJob): QueueJob => ({
  run_id,
  session_id,
  ...(tenant_id !== undefined && { tenant_id }),
  ...(workspace_id !== undefined && { workspace_id }),
})

const Price = z.strictObject({
  input: z.number().nonnegative(),
  output: z.number().nonnegative(),
  cached_input: z.number().nonnegative().optional(),
}) satisfies z.ZodType<ModelPrice>

const Job = z.strictObject({
  v: z.literal(1),
  tenant_id: z.string(),
  session_id: ClientId,
  run_id: z.string().min(1),
  workspace_id: ClientId,
  framework: z.enum(FRAMEWORK_NAMES),
  prompt: z.string(),
  model: z.string().min(1),
  max_steps: z.int().positive(),
  /** Once an answer has brought the run there, the next one is not asked for. Needs `price`. */
  max_cost_usd: z.number().positive().optional(),
  /** Of `model`, where the installation knows it: usage then has `cost_usd`. */
  price: Price.optional(),
  /** Absolute, ISO-8601: the worker ends the run then, whatever the runner does. */
  deadline: z.iso.datetime(),
  /** The container this job line was written to. */
  container_id: z.string().optional(),
  channel: z.discriminatedUnion('kind', [
    z.strictObject({
      kind: z.literal('gateway'),
      /** `unix:/run/mgx/gw.sock` or `http://host:port`. */
      url: z.string(),
      token: z.string(),
    }),
    z.strictObject({
      kind: z.literal('direct'),
      mongodb_url: z.string(),
      mongodb_db: z.string(),
      openai_base_url: z.string().optional(),
      openai_api_key: z.string(),
      /** On a network that leads nowhere: the gateway, as in the other channel, for connections only. */
      egress: z.strictObject({ url: z.string(), token: z.string() }).optional(),
    }),
  ]),
})

/**
 * What a runner is told: one JSON line on its standard input, from the worker. It is the only way in for secrets,
 * because the container's environment can be read by every process in it.
 */
export const RunnerJob = Job.refine(({ max_cost_usd, price }) => max_cost_usd === undefined || price !== undefined, {
  path: ['max_cost_usd'],
  error: 'cannot be kept without the price of the model (MODEL_PRICES of the worker)',
})

export type RunnerJob = z.infer<typeof RunnerJob>

/** Exit codes of the runner that mean something to the worker. */
export const RUNNER_EXIT = {
  ok: 0,
  /** The run ended with an error that the runner itself reported in `finish`. */
  failed: 1,
  /** EX_NOINPUT of sysexits.h: no job line within 10 s; the worker starts the container once more. */
  noJob: 66,
  /** EX_TEMPFAIL: events could not be stored for 5 minutes. */
  cannotStore: 75,
  /** EX_CONFIG: the job or the environment is wrong. */
  badJob: 78,
  /** Ended from outside: 128 + SIGTERM. */
  terminated: 143,
} as const

/** Where the socket directory of a run is mounted, and the socket's name in it. */
export const GATEWAY_MOUNT = '/run/mgx'
export const GATEWAY_SOCKET = 'gw.sock'

/** Argument of a runner that is started ahead, before there is a job for it; `WARM_ARGUMENT=direct` for that channel. */
export const WARM_ARGUMENT = '--warm'

/** The first line such a runner prints: all is loaded, and it waits for its job line. What it printed before is no run's. */
export const RUNNER_READY = 'mgx agent: warm, waiting for a job'

/** Who a container is for, in its environment. A runner that was started ahead learns it from its job line only. */
export const IDENTITY_VARIABLES: readonly string[] = ['SESSION_ID', 'RUN_ID', 'WORKSPACE_ID', 'FRAMEWORK']
