import { join } from 'node:path'
import { containerName } from '#contracts/ids.ts'
import { GATEWAY_MOUNT, GATEWAY_SOCKET, IDENTITY_VARIABLES, type RunnerJob } from '#contracts/job.ts'
import { LABELS } from '#contracts/labels.ts'
import { priceOf } from '#contracts/prices.ts'
import type { Run } from '#contracts/run.ts'
import type { SandboxSpec } from './engines/engine.ts'
import type { SlotSpec } from './engines/warm-engine.ts'
import { gatewayDir, slotShared } from './slot-paths.ts'
import type { WorkerConfig } from './worker-context.ts'

const usesSocket = ({ channel }: WorkerConfig): boolean =>
  channel.kind === 'gateway' ? channel.tcpUrl === undefined : channel.proxied === true

/** Where the gateway of this run, or slot, listens; nothing over TCP, and in the direct channel on an open network. */
export const gatewaySocket = (config: WorkerConfig, owner: string): string | undefined =>
  usesSocket(config) ? join(gatewayDir(config.workspacesRoot, owner), GATEWAY_SOCKET) : undefined

/** What the engine needs to start this run's container. Pure. `expires-at` outlives the deadline by the time an ending takes. */
export const sandboxSpec = (run: Run, config: WorkerConfig): SandboxSpec => {
  const { timings } = config
  const deadline = run.deadline_at ?? run.created_at
  const expires = new Date(deadline.getTime() + timings.stopGrace + timings.enginePatience)
  return {
    session_id: run.session_id,
    run_id: run.run_id,
    tenant_id: run.tenant_id,
    workspace_id: run.workspace_id,
    name: containerName(run.session_id),
    image: run.image?.name ?? config.image,
    user: config.user,
    workspace: {
      path: join(config.workspacesRoot, run.workspace_id),
      hostPath: join(config.hostWorkspacesRoot, run.workspace_id),
    },
    ...(usesSocket(config) && {
      gatewayDir: {
        path: gatewayDir(config.workspacesRoot, run.run_id),
        hostPath: gatewayDir(config.hostWorkspacesRoot, run.run_id),
      },
    }),
    env: {
      SESSION_ID: run.session_id,
      RUN_ID: run.run_id,
      WORKSPACE_ID: run.workspace_id,
      FRAMEWORK: run.framework,
      ...(run.image && { AGENT_IMAGE: run.image.name, AGENT_IMAGE_TRACK: run.image.track }),
    },
    network: config.network,
    limits: config.limits,
    extraHosts: config.extraHosts,
    labels: {
      [LABELS.managed]: 'true',
      [LABELS.installation]: config.installation,
      [LABELS.session]: run.session_id,
      [LABELS.run]: run.run_id,
      [LABELS.workspace]: run.workspace_id,
      [LABELS.role]: 'agent',
      [LABELS.expiresAt]: expires.toISOString(),
    },
  }
}

/** Stands for whoever will come. */
const NOBODY: Run = {
  run_id: '',
  tenant_id: '',
  session_id: '',
  workspace_id: '',
  framework: 'static',
  prompt: '',
  options: {},
  v: 1,
  state: 'queued',
  attempt: 0,
  lock: false,
  created_at: new Date(0),
  queue_deadline_at: new Date(0),
  turn_at: new Date(0),
  container_gone: true,
  restarts: 0,
}

/** A container that is started ahead: as a run's own would be, without its names, and never of the canary image. Pure. */
export const slotSpec = (slot: string, config: WorkerConfig): SlotSpec => {
  const nobody: Run = { ...NOBODY, image: { name: config.image, track: 'stable' } }
  const { session_id: _s, run_id: _r, workspace_id: _w, tenant_id: _t, ...spec } = sandboxSpec(nobody, config)
  const { workspacesRoot, hostWorkspacesRoot } = config
  return {
    ...spec,
    slot,
    name: `mgx-warm-${slot}`,
    channel: config.channel.kind,
    workspace: { path: slotShared(workspacesRoot, slot), hostPath: slotShared(hostWorkspacesRoot, slot) },
    ...(spec.gatewayDir && {
      gatewayDir: { path: gatewayDir(workspacesRoot, slot), hostPath: gatewayDir(hostWorkspacesRoot, slot) },
    }),
    env: Object.fromEntries(Object.entries(spec.env).filter(([name]) => !IDENTITY_VARIABLES.includes(name))),
    labels: {},
  }
}

const channelOf = (run: Run, config: WorkerConfig, token: string, sharesPaths: boolean): RunnerJob['channel'] => {
  const { channel } = config
  const socket = sharesPaths
    ? join(gatewayDir(config.workspacesRoot, run.run_id), GATEWAY_SOCKET)
    : `${GATEWAY_MOUNT}/${GATEWAY_SOCKET}`
  if (channel.kind === 'direct') {
    return {
      kind: 'direct',
      mongodb_url: channel.mongodbUrl,
      mongodb_db: channel.mongodbDb,
      openai_api_key: channel.openaiApiKey,
      ...(channel.openaiBaseUrl !== undefined && { openai_base_url: channel.openaiBaseUrl }),
      ...(channel.proxied && { egress: { url: `unix:${socket}`, token } }),
    }
  }
  return { kind: 'gateway', url: channel.tcpUrl ?? `unix:${socket}`, token }
}

/** The one line a runner is told, newline included. Pure. */
export const jobLine = (
  run: Run,
  config: WorkerConfig,
  sandbox: { readonly containerId: string; readonly token: string; readonly sharesPaths: boolean },
): string => {
  const model = run.options.model ?? config.model
  const price = priceOf(config.prices, model)
  const job: RunnerJob = {
    v: 1,
    tenant_id: run.tenant_id,
    session_id: run.session_id,
    run_id: run.run_id,
    workspace_id: run.workspace_id,
    framework: run.framework,
    prompt: run.prompt,
    model,
    ...(price && { price }),
    max_steps: run.options.max_steps ?? config.maxSteps,
    ...(run.options.max_cost_usd !== undefined && { max_cost_usd: run.options.max_cost_usd }),
    deadline: (run.deadline_at ?? run.created_at).toISOString(),
    container_id: sandbox.containerId,
    channel: channelOf(run, config, sandbox.token, sandbox.sharesPaths),
  }
  return `${JSON.stringify(job)}\n`
}
