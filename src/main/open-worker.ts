import { randomUUID } from 'node:crypto'
import { hostname } from 'node:os'
import type { Logger } from 'pino'
import type { JobQueue } from '#queue/job-queue.ts'
import { createClaims } from '#scheduler/claims.ts'
import { onItsNetwork } from '#scheduler/closed-network.ts'
import { createDiskGuard } from '#scheduler/disk-guard.ts'
import { diskProbe } from '#scheduler/disk-probe.ts'
import { openGateway } from '#scheduler/gateway.ts'
import { placesOf } from '#scheduler/places.ts'
import { openWarmPool } from '#scheduler/warm-pool.ts'
import { startWorker } from '#scheduler/worker.ts'
import type { WorkerConfig } from '#scheduler/worker-context.ts'
import { createFollower } from '#store/follow.ts'
import type { Store } from '#store/store.ts'
import type { ChosenEngine } from './adapters.ts'
import type { GatewaySettings } from './config.ts'
import type { Metrics } from './metrics.ts'
import { untilThere } from './until-there.ts'

type Parts = {
  readonly store: Store
  readonly queue: JobQueue
  readonly engine: ChosenEngine
  readonly worker: WorkerConfig
  readonly gateway?: GatewaySettings
  readonly log: Logger
  readonly signal: AbortSignal
  readonly metrics?: Metrics | undefined
}

const OPEN_NETWORK =
  'agents reach by themselves whatever their network reaches: AGENT_EGRESS holds nothing in the direct channel unless ' +
  'AGENT_NETWORK is made with `docker network create --internal`, with MongoDB on it'

/**
 * A worker that takes runs. Waits for what is not there yet, saying so; `undefined` when `signal` aborts before that. Disposing
 * hands its runs back.
 */
export const openWorker = async (parts: Parts): Promise<AsyncDisposable | undefined> => {
  try {
    return await open(parts)
  } catch (error) {
    if (parts.signal.aborted) return undefined
    throw error
  }
}

const open = async ({
  store,
  queue,
  engine: chosen,
  worker: configured,
  gateway,
  log,
  signal,
  metrics,
}: Parts): Promise<AsyncDisposable> => {
  const { engine, check } = metrics?.engine(chosen) ?? chosen
  const there = <T>(what: string, attempt: () => Promise<T>) => untilThere(what, attempt, { log, signal })
  await Promise.all([
    there('the store', () => store.runs.ping()),
    there('the queue', () => queue.ping()),
    there(`the ${engine.name} engine`, check),
  ])
  const engineId = await there(`the ${engine.name} engine`, () => engine.engineId())
  const worker = await there(`the ${engine.name} engine`, () => onItsNetwork(configured, engine))
  const { channel } = worker
  const isOpen = channel.kind === 'direct' && !channel.proxied
  if (isOpen && engine.leadsNowhere) log.warn(OPEN_NETWORK)
  await using stack = new AsyncDisposableStack()
  const onError = (err: unknown) => log.warn({ err }, 'following a log: trying again')
  const follower = stack.use(createFollower(store.events, { onError }))
  const served =
    gateway &&
    !isOpen &&
    stack.use(
      await openGateway({
        events: store.events,
        ...(channel.kind === 'gateway' && { upstream: gateway.model }),
        egress: gateway.egress,
        log,
        ...(metrics && { meter: metrics.gateway() }),
        ...(gateway.tcp && { tcp: { ...gateway.tcp, runs: store.runs } }),
      }),
    )
  const pool =
    worker.warmPoolSize > 0 && engine.warm && !worker.disk.hard
      ? stack.use(await openWarmPool({ warm: engine.warm, engineId, config: worker, log }))
      : undefined
  const owner = `${hostname()}-${process.pid}-${randomUUID().slice(0, 8)}`
  const held = new Set<string>()
  const meter = metrics?.worker({ places: placesOf(worker), atWork: () => held.size, ...(pool && { pool }) })
  stack.use(
    startWorker({
      store,
      follower,
      queue,
      engine,
      engineId,
      log,
      owner,
      config: worker,
      held,
      ...(meter && { meter }),
      claims: createClaims(worker.workspacesRoot),
      ...(pool && { pool, warmBytes: pool.bytes }),
      disk: createDiskGuard({ ...worker.disk, root: worker.workspacesRoot, probe: diskProbe, log }),
      ...(served && { gateway: served }),
    }),
  )
  const { installation, image, concurrency } = worker
  log.info({ engine: engineId, installation, image, concurrency, channel: channel.kind }, 'the worker takes runs')
  return stack.move()
}
