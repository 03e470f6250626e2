import type { ApiConfig } from '#api/deps.ts'
import type { EgressConfig } from '#scheduler/egress-guard.ts'
import type { WorkerConfig } from '#scheduler/worker-context.ts'
import packageJson from '../../package.json' with { type: 'json' }
import { AGENTS } from './config-agent-variables.ts'
import {
  directNetwork,
  type EngineSettings,
  engineSettings,
  guardHardQuota,
  guardKubernetes,
  type Machine,
  ownUser,
  thisMachine,
  workerSettings,
} from './config-agents.ts'
import { egressNotice, egressSettings, modelTarget, OPEN_NETWORK, privateRanges } from './config-egress.ts'
import { hasModelApi, type ModelApi, modelApi, required, tracingNotice } from './config-rules.ts'
import { GENERAL } from './config-variables.ts'
import { ConfigError, collect, type Env, readEnv, type Values } from './read-env.ts'

export type Listen = { readonly host: string; readonly port: number }
export type Services = { readonly mongodbUrl: string; readonly mongodbDb: string; readonly redisUrl: string }
export type GatewaySettings = { readonly model: ModelApi; readonly egress: EgressConfig; readonly tcp?: Listen }

/** What every process has: how much it logs, what it should say at its start, and where it shows its figures. */
export type ProcessSettings = {
  readonly logLevel: string
  readonly notices: readonly string[]
  /** Where /metrics is; absent = nothing is measured. */
  readonly metrics?: Listen
}

export type ApiSettings = ProcessSettings & {
  readonly listen: Listen
  readonly api: ApiConfig
  readonly services: Services
}

export type WorkerSettings = ProcessSettings & {
  readonly worker: WorkerConfig
  readonly engine: EngineSettings
  readonly gateway: GatewaySettings
  readonly services: Services
}

/** All in one process. `engine.kind` and `model` are left open where the environment says nothing. */
export type DevSettings = ProcessSettings & {
  readonly listen: Listen
  readonly portGiven: boolean
  readonly api: ApiConfig
  readonly worker: WorkerConfig
  readonly engine: Omit<EngineSettings, 'kind'> & { readonly kind?: EngineSettings['kind'] }
  readonly model?: ModelApi
  readonly egress: EgressConfig
  readonly gatewayTcp?: Listen
}

/** Milliseconds between the comments that keep an idle event stream open: below the 30 s after which proxies give up. */
const HEARTBEAT_MS = 15_000

const TENANT_LIMIT = { MAX_RUNNING_RUNS_PER_TENANT: AGENTS.runs.MAX_RUNNING_RUNS_PER_TENANT }
const CHANNEL = { AGENT_CHANNEL: AGENTS.channel.AGENT_CHANNEL }
const NETWORK = { AGENT_NETWORK: AGENTS.engine.AGENT_NETWORK, AGENT_DIRECT_NETWORK: AGENTS.engine.AGENT_DIRECT_NETWORK }
const PROCESS = { ...GENERAL.metrics, ...GENERAL.process }
const PRICES = { MODEL_PRICES: GENERAL.model.MODEL_PRICES }
const API_TABLE = {
  ...GENERAL.http,
  ...PRICES,
  ...TENANT_LIMIT,
  ...CHANNEL,
  ...NETWORK,
  ...GENERAL.services,
  ...PROCESS,
}
const AGENT_TABLE = {
  ...AGENTS.workspaces,
  ...AGENTS.engine,
  ...AGENTS.kubernetes,
  ...AGENTS.runs,
  ...AGENTS.channel,
  ...AGENTS.egress,
  ...GENERAL.model,
}
const WORKER_TABLE = { ...AGENT_TABLE, ...GENERAL.services, ...PROCESS }
const DEV_TABLE = { ...GENERAL.http, ...AGENT_TABLE, ...PROCESS }

const LOOPBACK = /^(localhost|127(\.\d{1,3}){3}|::1)$/

const guardListening = (http: Values<typeof GENERAL.http>): void => {
  if (LOOPBACK.test(http.HOST) || http.INSECURE_NO_AUTH) return
  throw new ConfigError([
    `HOST=${http.HOST}: is beyond loopback, and there is no login yet: whoever reaches the port could run agents. ` +
      'Keep HOST=127.0.0.1, or set INSECURE_NO_AUTH=1 where something else guards the port',
  ])
}

const httpSettings = (
  http: Values<typeof GENERAL.http & typeof TENANT_LIMIT & typeof PRICES>,
): { listen: Listen; api: ApiConfig } => ({
  listen: { host: http.HOST, port: http.PORT },
  api: {
    corsOrigins: http.CORS_ORIGINS ?? [],
    heartbeatMs: HEARTBEAT_MS,
    queueTimeoutSeconds: http.QUEUE_TIMEOUT_SECONDS,
    maxQueuedRuns: http.MAX_QUEUED_RUNS,
    maxQueuedRunsPerTenant: http.MAX_QUEUED_RUNS_PER_TENANT ?? http.MAX_QUEUED_RUNS,
    ...(http.MAX_RUNNING_RUNS_PER_TENANT !== undefined && { maxRunningPerTenant: http.MAX_RUNNING_RUNS_PER_TENANT }),
    ...(http.MODEL_PRICES && { prices: http.MODEL_PRICES }),
    docs: http.API_DOCS,
    version: packageJson.version,
  },
})

const services = (values: Values<typeof GENERAL.services>): Services => ({
  mongodbUrl: required('MONGODB_URL', values.MONGODB_URL, GENERAL.services.MONGODB_URL.rule),
  mongodbDb: values.MONGODB_DB,
  redisUrl: required('REDIS_URL', values.REDIS_URL, GENERAL.services.REDIS_URL.rule),
})

const checkServices = (values: Values<typeof GENERAL.services>) =>
  (['MONGODB_URL', 'REDIS_URL'] as const).map(
    (name) => () => void required(name, values[name], GENERAL.services[name].rule),
  )

const listenOf = (host: string, port: number | undefined): Listen | undefined =>
  port === undefined ? undefined : { host, port }

const processSettings = (values: Values<typeof PROCESS>, notices: readonly string[] = []): ProcessSettings => {
  const metrics = listenOf(values.METRICS_HOST, values.METRICS_PORT)
  return { logLevel: values.LOG_LEVEL, notices, ...(metrics && { metrics }) }
}

/** What an API process needs to know. Throws `ConfigError`. */
export const apiConfig = (env: Env): ApiSettings => {
  const values = readEnv(env, API_TABLE)
  collect([() => guardListening(values), ...checkServices(values)])
  const { listen, api } = httpSettings(values)
  // Whether another network leads out, only a worker can find out.
  const keepsEgress = values.AGENT_CHANNEL === 'gateway' || directNetwork(values) !== OPEN_NETWORK
  return { listen, api: { ...api, keepsEgress }, services: services(values), ...processSettings(values) }
}

/** In the direct channel it is for connections, the runner's to the model among them, and listens on sockets only. */
const gatewaySettings = (values: Values<typeof WORKER_TABLE>, { channel }: WorkerConfig): GatewaySettings => {
  const model = modelApi(values)
  const egress = egressSettings(values, [values.GATEWAY_TCP_PORT, values.METRICS_PORT])
  const tcp = listenOf(values.GATEWAY_TCP_HOST, values.GATEWAY_TCP_PORT)
  if (channel.kind === 'gateway') return { model, egress, ...(tcp && { tcp }) }
  const target = modelTarget(model)
  return { model, egress: { ...egress, ...(target && { model: target }) } }
}

/** What a worker process needs to know. Throws `ConfigError`. */
export const workerConfig = (env: Env, machine: Machine = thisMachine()): WorkerSettings => {
  const values = readEnv(env, WORKER_TABLE)
  collect([
    ...checkServices(values),
    () => void modelApi(values),
    () => void workerSettings(values, machine),
    () => void privateRanges(values),
  ])
  const worker = workerSettings(values, machine)
  const kind = values.ENGINE ?? 'docker'
  guardKubernetes(kind, worker)
  guardHardQuota(kind, worker, machine)
  return {
    worker: kind === 'process' ? { ...worker, user: ownUser(machine) } : worker,
    engine: { ...engineSettings(values, worker), kind },
    gateway: gatewaySettings(values, worker),
    services: services(values),
    ...processSettings(values, [...tracingNotice(values), ...egressNotice(worker, values)]),
  }
}

/** What the embedded mode needs to know (`npm run dev`, `make demo`): always the gateway channel. Throws `ConfigError`. */
export const devConfig = (env: Env, machine: Machine = thisMachine()): DevSettings => {
  const values = { ...readEnv(env, DEV_TABLE), AGENT_CHANNEL: 'gateway' as const }
  const egress = () => egressSettings(values, [values.PORT, values.GATEWAY_TCP_PORT, values.METRICS_PORT])
  collect([() => guardListening(values), () => void workerSettings(values, machine), () => void privateRanges(values)])
  const worker = workerSettings(values, machine)
  guardKubernetes(values.ENGINE, worker)
  guardHardQuota(values.ENGINE, worker, machine)
  const tcp = listenOf(values.GATEWAY_TCP_HOST, values.GATEWAY_TCP_PORT)
  return {
    ...httpSettings(values),
    portGiven: (env.PORT ?? '') !== '',
    worker,
    engine: { ...engineSettings(values, worker), ...(values.ENGINE && { kind: values.ENGINE }) },
    ...(hasModelApi(values) && { model: modelApi(values) }),
    egress: egress(),
    ...(tcp && { gatewayTcp: tcp }),
    ...processSettings(values, [...tracingNotice(values), ...egressNotice(worker, values)]),
  }
}
