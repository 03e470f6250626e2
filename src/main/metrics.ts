import { collectDefaultMetrics, Gauge, Registry } from '@prometheus-io/client'
import type { ApiMeter } from '#api/meter.ts'
import { within } from '#api/within.ts'
import type { JobQueue } from '#queue/job-queue.ts'
import type { GatewayMeter } from '#scheduler/gateway-meter.ts'
import type { WorkerMeter } from '#scheduler/worker-context.ts'
import type { Store } from '#store/store.ts'
import packageJson from '../../package.json' with { type: 'json' }
import type { ChosenEngine } from './adapters.ts'
import { createApiMeter } from './metrics-api.ts'
import { watchEngine } from './metrics-engine.ts'
import { measureLine } from './metrics-line.ts'
import { meterStore } from './metrics-store.ts'
import { createGatewayMeter, createWorkerMeter, type WorkerFigures } from './metrics-worker.ts'

/**
 * The figures of one process. What passes through a port is counted there, by a port of the same kind around it; what a room
 * alone knows, it tells its meter; what can be looked at, is looked at when somebody asks.
 */
export type Metrics = {
  store(store: Store): Store
  queue(queue: JobQueue): void
  engine(chosen: ChosenEngine): ChosenEngine
  api(): ApiMeter
  worker(figures: WorkerFigures): WorkerMeter
  gateway(): GatewayMeter
  readonly contentType: string
  /** All of it, in the text format of Prometheus; within two seconds, whatever is away. */
  text(): Promise<string>
}

/** How long a service may take to say that it is there, milliseconds. */
const PING_MS = 1_000

/** `undefined`: not known yet. */
type IsUp = () => boolean | undefined | Promise<boolean>

const createServices = (registry: Registry): Map<string, IsUp> => {
  const services = new Map<string, IsUp>()
  const gauge: Gauge<'service'> = new Gauge({
    name: 'mgx_service_up',
    help: 'Whether store, queue and engine answer this process.',
    labelNames: ['service'],
    registers: [registry],
    async collect() {
      const ask = async (service: string, isUp: IsUp) => {
        const up = await isUp()
        if (up !== undefined) gauge.set({ service }, Number(up))
      }
      await Promise.all([...services].map(([service, isUp]) => ask(service, isUp)))
    },
  })
  return services
}

export const createMetrics = (): Metrics => {
  const registry = new Registry()
  collectDefaultMetrics({ register: registry })
  new Gauge({
    name: 'mgx_build_info',
    help: 'Always 1; the version is a label.',
    labelNames: ['version'],
    registers: [registry],
  }).set({ version: packageJson.version }, 1)
  const services = createServices(registry)
  return {
    store(store) {
      services.set('store', measureLine(registry, store.runs))
      return meterStore(registry, store)
    },
    queue(queue) {
      services.set('queue', () =>
        within(PING_MS, queue.ping()).then(
          () => true,
          () => false,
        ),
      )
    },
    engine({ engine, check }) {
      let isUp: boolean | undefined
      services.set('engine', () => isUp)
      const watched = watchEngine(engine, (up) => {
        isUp = up
      })
      return { engine: watched, check }
    },
    api: () => createApiMeter(registry),
    worker: (figures) => createWorkerMeter(registry, figures),
    gateway: () => createGatewayMeter(registry),
    contentType: registry.contentType,
    text: () => registry.metrics(),
  }
}
