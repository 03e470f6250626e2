import { Agent as HttpAgent } from 'node:http'
import { Agent as HttpsAgent } from 'node:https'
import { inspect } from 'node:util'
import Docker from 'dockerode'
import { LABELS } from '#contracts/labels.ts'
import type { Claim, Claims } from '../claims.ts'
import { callError, hasStatus } from './docker-errors.ts'
import type { SandboxInfo, SandboxRef } from './engine.ts'

/** The daemon, whose containers we may touch, and which runs the slots among them belong to. */
export type Daemon = { readonly docker: Docker; readonly installation: string; readonly claims?: Claims }

/** How long a question may take; a busy machine answers in milliseconds, a hung daemon never. */
export const CALL_MS = 20_000

/** Creating, starting, stopping and removing touch the disk and the network. */
export const CHANGE_MS = 120_000

/**
 * docker-modem (5.0.7) writes out every request for its debug output, also when nobody wants that, with all that hangs on the
 * agent: each connection that is open, with all its buffers. With forty runs that was two thirds of what a worker did.
 */
const opaque = <T extends HttpAgent>(agent: T): T =>
  Object.defineProperty(agent, inspect.custom, { value: () => 'Agent' })

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
    modem.agent = opaque(modem.protocol === 'https' ? new HttpsAgent(options) : new HttpAgent(options))
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
  ...(info.Labels[LABELS.slot] !== undefined && { slot: info.Labels[LABELS.slot] }),
})

/** As the run's own container would look: as old as the claim, because that is when it began to be its. */
const asClaimed = (found: Found, claim: Claim): Found => ({
  ...found,
  session_id: claim.session_id,
  run_id: claim.run_id,
  workspace_id: claim.workspace_id,
  createdAt: new Date(claim.claimed_at),
})

const list = async ({ docker, installation }: Daemon, labels: readonly string[]): Promise<Found[]> => {
  const filters = { label: [LABELS.managed, `${LABELS.installation}=${installation}`, ...labels] }
  const found = await ask(CALL_MS, (abortSignal) => docker.listContainers({ all: true, filters, abortSignal }))
  return found.map(toFound)
}

/** This installation's slots, claimed or not, running or not. */
export const listSlots = (daemon: Daemon): Promise<Found[]> => list(daemon, [LABELS.slot])

/** The container of a slot: one, or none. */
export const listSlot = (daemon: Daemon, slot: string): Promise<Found[]> => list(daemon, [`${LABELS.slot}=${slot}`])

const claimsAt = async ({ claims }: Daemon): Promise<readonly Claim[]> => (await claims?.all()) ?? []

type Names = Partial<Pick<Claim, 'session_id' | 'run_id' | 'workspace_id'>>

const LABEL_OF = { session_id: LABELS.session, run_id: LABELS.run, workspace_id: LABELS.workspace } as const

const NAMES = Object.keys(LABEL_OF) as (keyof typeof LABEL_OF)[]

/** This installation's agent containers of these names, running or not; slots that were claimed for them last. */
export const listContainers = async (daemon: Daemon, names: Names = {}): Promise<Found[]> => {
  const wanted = NAMES.filter((name) => names[name] !== undefined)
  const claims = (await claimsAt(daemon)).filter((claim) => wanted.every((name) => claim[name] === names[name]))
  const [labelled, ...claimed] = await Promise.all([
    list(daemon, [LABELS.run, ...wanted.map((name) => `${LABEL_OF[name]}=${names[name]}`)]),
    ...claims.map(async (claim) => (await listSlot(daemon, claim.slot)).map((found) => asClaimed(found, claim))),
  ])
  return [...labelled, ...claimed.flat()]
}

/** Every agent container of this installation. Claims are read last: one that was made meanwhile counts. */
export const listAll = async (daemon: Daemon): Promise<Found[]> => {
  const [labelled, slots] = await Promise.all([list(daemon, [LABELS.run]), listSlots(daemon)])
  const claims = new Map((await claimsAt(daemon)).map((claim) => [claim.slot, claim]))
  const claimed = slots.flatMap((found) => {
    const claim = claims.get(found.slot ?? '')
    return claim === undefined ? [] : [asClaimed(found, claim)]
  })
  return [...labelled, ...claimed]
}

/** Every container of the run: one, or none, as long as nobody meddles. */
export const containersOf = (daemon: Daemon, { session_id, run_id }: SandboxRef): Promise<Found[]> =>
  listContainers(daemon, { session_id, run_id })
