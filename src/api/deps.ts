import type { ZodTypeProvider } from '@fastify/type-provider-zod'
import type {
  FastifyBaseLogger,
  FastifyInstance,
  RawReplyDefaultExpression,
  RawRequestDefaultExpression,
  RawServerDefault,
} from 'fastify'
import type { Logger } from 'pino'
import type { ModelPrices } from '#contracts/prices.ts'
import type { JobQueue } from '#queue/job-queue.ts'
import type { Follower } from '#store/follow.ts'
import type { Store } from '#store/store.ts'
import type { Door, DoorLimits } from './door.ts'
import type { Hints } from './hints.ts'
import type { Line } from './line.ts'
import type { LiveResponses } from './live.ts'
import type { ApiMeter } from './meter.ts'
import type { Sse } from './sse.ts'
import type { EventFrames } from './watch.ts'

export type ApiConfig = DoorLimits & {
  /** The limit of runs at work of one tenant, as the workers have it: for estimates. */
  readonly maxRunningPerTenant?: number
  /** Milliseconds between two looks at the waiting line for those who follow it; 1 000 unless told. */
  readonly lineMs?: number
  /** Origins whose pages may call the API; `*` = every origin; empty = none but its own. */
  readonly corsOrigins: readonly string[]
  /** Milliseconds between the comments that keep an idle event stream open. */
  readonly heartbeatMs: number
  /** How long a run may wait for a worker before it ends as `queue_timeout`. */
  readonly queueTimeoutSeconds: number
  /** False where agents reach their network by themselves: a run that asks for an egress policy is refused. */
  readonly keepsEgress?: boolean
  /** What models cost; a run on one that is not known here may have no budget. */
  readonly prices?: ModelPrices
  /** Serve the browsable reference at /docs; it costs 40 MB of memory once somebody has looked. */
  readonly docs: boolean
  readonly version: string
  /** Milliseconds that a request may take which is not a stream; 15 000 unless told. */
  readonly handlerTimeoutMs?: number
}

export type ApiDeps = {
  readonly store: Store
  readonly follower: Follower
  readonly queue: JobQueue
  readonly log: Logger
  readonly config: ApiConfig
  readonly meter?: ApiMeter
}

/** What the routes get: store and queue whose outages are {@link MgxError}s, and the streams of this app. */
export type RouteDeps = Omit<ApiDeps, 'log' | 'meter'> & {
  readonly sse: Sse
  readonly frames: EventFrames
  readonly live: LiveResponses
  readonly door: Door
  readonly hints: Hints
  readonly line: Line
  /** Names this process on runs that it ends itself. */
  readonly owner: string
}

export type ApiApp = FastifyInstance<
  RawServerDefault,
  RawRequestDefaultExpression,
  RawReplyDefaultExpression,
  FastifyBaseLogger,
  ZodTypeProvider
>
