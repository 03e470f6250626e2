import { Agent as HttpAgent } from 'node:http'
import { Agent as HttpsAgent } from 'node:https'
import Docker from 'dockerode'
import { LABELS } from '#contracts/labels.ts'
import { callError, hasStatus } from './docker-errors.ts'
import type { SandboxInfo, SandboxRef } from './engine.ts'

/** The daemon and whose containers we may touch. */
export type Daemon = { readonly docker: Docker; readonly installation: string }

/** How long a question may take; a busy machine answers in milliseconds, a hung daemon never. */
export const CALL_MS = 20_000

/** Creating, starting, stopping and removing touch the disk and the network. */
export const CHANGE_MS = 120_000

/**
 * A client for the daemon. No API version is pinned: engines from 29 on refuse old ones, and nothing here differs between
 * versions. Connections are not kept, because a kept one that a restarted daemon has dropped fails the next call.
 */
export const connectDocker = (target: Docker | Docker.DockerOptions): Docker => {
  if (target instanceof Docker) return target
  const docker = new Docker(target)
  const modem = docker.modem as { protocol?: string; agent?: HttpAgent }
  if (modem.agent === undefined && modem.protocol !== 'ssh') {
    const options = { keepAlive: false }
    modem.agent = modem.protocol === 'https' ? new HttpsAgent(options) : new HttpAgent(options)
  }
  return docker
}

/**
 * One request, given up after `ms` (rejects with a `TimeoutError`). The race is needed: docker-modem never settles when
 * the connection breaks between an answer's head and its end.
 */
export const within = async <T>(ms: number, request: (abortSignal: AbortSignal) => Promise<T>): Promise<T> => {
  const limit = new AbortController()
  const over = Promise.withResolvers<never>()
  const timer = setTimeout(() => {
    const reason = new DOMException(`no answer within ${ms / 1000} s`, 'TimeoutError')
    over.reject(reason)
    limit.abort(reason)
  }, ms)
  try {
    return await Promise.race([request(limit.signal), over.promise])
  } finally {
    clearTimeout(timer)
  }
}

/** As `within`, with the failure as an `EngineError`. */
export const ask = async <T>(ms: number, request: (abortSignal: AbortSignal) => Promise<T>): Promise<T> => {
  try {
    return await within(ms, request)
  } catch (error) {
    throw callError(error)
  }
}

/** As `ask`; `undefined` when the daemon answers with one of `statuses` (404: it is gone; 304, 409: it is so already). */
export const askUnless = async <T>(
  statuses: readonly number[],
  ms: number,
  request: (abortSignal: AbortSignal) => Promise<T>,
): Promise<T | undefined> => {
  try {
    return await within(ms, request)
  } catch (error) {
    if (hasStatus(error, ...statuses)) return undefined
    throw callError(error)
  }
}

/** A container of ours; `state` in Docker's words. */
export type Found = SandboxInfo & { readonly state: string }

const ALIVE = new Set(['running', 'paused', 'restarting'])

const toFound = (info: Docker.ContainerInfo): Found => ({
  containerId: info.Id,
  session_id: info.Labels[LABELS.session] ?? '',
  run_id: info.Labels[LABELS.run] ?? '',
  workspace_id: info.Labels[LABELS.workspace] ?? '',
  running: ALIVE.has(info.State),
  started: info.State !== 'created',
  createdAt: new Date(info.Created * 1000),
  state: info.State,
})

/** This installation's agent containers with all these labels, running or not. */
export const listContainers = async (
  { docker, installation }: Daemon,
  labels: Readonly<Record<string, string>> = {},
): Promise<Found[]> => {
  const wanted = Object.entries({ [LABELS.installation]: installation, ...labels }).map((pair) => pair.join('='))
  const filters = { label: [LABELS.managed, LABELS.run, ...wanted] }
  const found = await ask(CALL_MS, (abortSignal) => docker.listContainers({ all: true, filters, abortSignal }))
  return found.map(toFound)
}

/** Every container of the run: one, or none, as long as nobody meddles. */
export const containersOf = (daemon: Daemon, ref: SandboxRef): Promise<Found[]> =>
  listContainers(daemon, { [LABELS.session]: ref.session_id, [LABELS.run]: ref.run_id })
