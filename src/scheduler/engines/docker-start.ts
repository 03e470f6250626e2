import type { Duplex } from 'node:stream'
import { finished } from 'node:stream/promises'
import type Docker from 'dockerode'
import { LABELS } from '#contracts/labels.ts'
import { pause } from '../patience.ts'
import type { Semaphore } from '../semaphore.ts'
import { askUnless, CALL_MS, CHANGE_MS, type Daemon, type Found, listContainers, within } from './docker-daemon.ts'
import { daemonMessage, hasStatus, leftEndpoint, nameTaken, startError } from './docker-errors.ts'
import { dockerOptions } from './docker-options.ts'
import { EngineError, type SandboxSpec, type StartResult } from './engine.ts'
import type { RunNames } from './warm-engine.ts'

const POLL_MS = 100

/** The run's own container, created and not started for this long, was left by a worker that died between the two. */
const UNSTARTED_MS = 5_000

/** A runner that has not read its line by then has left (it waits 10 s); its exit says so. */
const LINE_MS = 15_000

export type StartRequest = {
  readonly spec: SandboxSpec
  readonly jobLine: (containerId: string) => string
  readonly signal: AbortSignal
}

export const lookAround = async (daemon: Daemon, spec: RunNames): Promise<{ own?: Found; inTheWay: boolean }> => {
  const lists = await Promise.all([
    listContainers(daemon, { session_id: spec.session_id }),
    listContainers(daemon, { workspace_id: spec.workspace_id }),
  ])
  const found = lists.flat()
  const own = found.find((container) => container.run_id === spec.run_id)
  return { ...(own && { own }), inTheWay: found.some((container) => container.run_id !== spec.run_id) }
}

/** Waits for a free place: resolves with the run's own container if there is one already. */
const findPlace = async (daemon: Daemon, { spec, signal }: StartRequest): Promise<Found | undefined> => {
  let unstarted: { id: string; since: number } | undefined
  for (;;) {
    signal.throwIfAborted()
    const { own, inTheWay } = await lookAround(daemon, spec)
    if (own?.started && own.state !== 'removing') return own
    if (!own && !inTheWay) return undefined
    if (own && !own.started) {
      if (unstarted?.id !== own.containerId) unstarted = { id: own.containerId, since: Date.now() }
      // Without force: should its creator start it right now after all, it stays, and is adopted.
      if (Date.now() - unstarted.since > UNSTARTED_MS) {
        const container = daemon.docker.getContainer(own.containerId)
        await askUnless([404, 409], CHANGE_MS, (abortSignal) => container.remove({ v: true, abortSignal }))
      }
    }
    await pause(POLL_MS, signal)
  }
}

/** The name is in use. By a container of this session, come since we looked: look again. By anybody else's: an error. */
const checkNameIsOurs = async ({ docker, installation }: Daemon, spec: SandboxSpec): Promise<void> => {
  const info = await askUnless([404], CALL_MS, (abortSignal) => docker.getContainer(spec.name).inspect({ abortSignal }))
  if (!info) return
  const labels = info.Config.Labels ?? {}
  // A slot that was claimed for an earlier run bears the session's name as well, and not its label.
  const ofSession = labels[LABELS.session] === spec.session_id || labels[LABELS.slot] !== undefined
  const ours = labels[LABELS.installation] === installation && ofSession
  if (!ours) throw nameTaken(spec, info.Id, labels[LABELS.installation])
}

const create = async (daemon: Daemon, spec: SandboxSpec): Promise<Docker.Container | undefined> => {
  try {
    // Not bound to the caller's signal: the daemon goes on creating when we hang up, and we would not know the id.
    return await within(CHANGE_MS, (abortSignal) =>
      daemon.docker.createContainer({ ...dockerOptions(spec, daemon.installation), abortSignal }),
    )
  } catch (error) {
    if (!hasStatus(error, 409)) throw error
    await checkNameIsOurs(daemon, spec)
    return undefined
  }
}

/** Attached before the start, so that the daemon ends the runner's standard input should we die before we wrote. */
export const attachStdin = async (container: Docker.Container): Promise<Duplex> => {
  const options = { stream: true, stdin: true, stdout: false, stderr: false, hijack: true }
  const stdin = (await within(CALL_MS, (abortSignal) => container.attach({ ...options, abortSignal }))) as Duplex
  // A container that exits before it has read its line breaks the pipe: its exit code tells, not we.
  stdin.on('error', () => stdin.destroy())
  return stdin
}

export const discard = async (container: Docker.Container, error: EngineError): Promise<EngineError> => {
  try {
    await within(CHANGE_MS, (abortSignal) => container.remove({ force: true, v: true, abortSignal }))
  } catch (failure) {
    if (!hasStatus(failure, 404)) {
      const message = `${error.message}; and its container ${container.id.slice(0, 12)} is still there: ${daemonMessage(failure)}`
      return new EngineError(error.failure, message, error.remediation, { cause: error })
    }
  }
  return error
}

/** @returns the open standard input */
const run = async (container: Docker.Container, signal: AbortSignal): Promise<Duplex> => {
  signal.throwIfAborted()
  let stdin: Duplex | undefined
  try {
    stdin = await attachStdin(container)
    await within(CHANGE_MS, (abortSignal) => container.start({ abortSignal }))
    signal.throwIfAborted()
    return stdin
  } catch (error) {
    stdin?.destroy()
    throw error
  }
}

const deliver = async (stdin: Duplex, line: string, signal: AbortSignal): Promise<void> => {
  const patience = AbortSignal.any([signal, AbortSignal.timeout(LINE_MS)])
  stdin.resume()
  stdin.end(line)
  await finished(stdin, { readable: false, signal: patience }).catch(() => {})
  signal.throwIfAborted()
}

/** Clears what a killed daemon has left of an earlier container of this name; false where there was nothing, or it stays. */
const clearEndpoint = async ({ docker }: Daemon, name: string, network: string): Promise<boolean> => {
  const options = { Container: name, Force: true }
  return within(CALL_MS, (abortSignal) => docker.getNetwork(network).disconnect({ ...options, abortSignal })).then(
    () => true,
    () => false,
  )
}

/**
 * @param cleared networks in which the way was cleared; once each
 * @returns nothing when a container of this session has come meanwhile, or the way was cleared: look again
 */
const createAndStart = async (
  daemon: Daemon,
  places: Semaphore,
  { spec, jobLine, signal }: StartRequest,
  cleared: Set<string>,
): Promise<string | undefined> => {
  let container: Docker.Container | undefined
  try {
    let stdin: Duplex
    {
      using _place = await places.acquire(signal)
      container = await create(daemon, spec)
      if (!container) return undefined
      stdin = await run(container, signal)
    }
    await deliver(stdin, jobLine(container.id), signal)
    return container.id
  } catch (error) {
    const failure = startError(error, spec)
    const told = container ? await discard(container, failure) : failure
    signal.throwIfAborted()
    // Only now: while a container of that name is there, the daemon would clear that one's.
    const network = told === failure ? leftEndpoint(error, spec.name) : undefined
    if (network !== undefined && !cleared.has(network)) {
      cleared.add(network)
      if (await clearEndpoint(daemon, spec.name, network)) return undefined
    }
    throw told
  }
}

/** `SandboxEngine.start`. */
export const startContainer = async (
  daemon: Daemon,
  places: Semaphore,
  request: StartRequest,
): Promise<StartResult> => {
  const cleared = new Set<string>()
  for (;;) {
    const own = await findPlace(daemon, request)
    if (own) return { containerId: own.containerId, adopted: true }
    const containerId = await createAndStart(daemon, places, request, cleared)
    if (containerId !== undefined) return { containerId, adopted: false }
    await pause(POLL_MS, request.signal)
  }
}
