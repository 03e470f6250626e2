import { Readable } from 'node:stream'
import { LABELS } from '#contracts/labels.ts'
import { pause, within } from '../patience.ts'
import { EngineError, type SandboxSpec, type StartResult } from './engine.ts'
import { ApiRefusal, type Attached } from './kubernetes-api.ts'
import { removePod } from './kubernetes-end.ts'
import { callError, nameTaken, startError } from './kubernetes-errors.ts'
import { CONTAINER, type PodSettings, podManifest } from './kubernetes-manifest.ts'
import { podName } from './kubernetes-names.ts'
import { type Note, obstacleOf, type Patience } from './kubernetes-obstacles.ts'
import { annotation, askUnless, type Cluster, getPod, listPods, type Pod } from './kubernetes-pods.ts'
import { hasStarted, isOver, isRunning } from './kubernetes-state.ts'
import { watchPod } from './kubernetes-watch.ts'

const POLL_MS = 200

/** The run's own pod, made and not running for this long while nobody we know waits for it: its creator died. */
const UNSTARTED_MS = 5_000

/** A runner that has not read its line by then has left (it waits 10 s); its exit says so. */
const LINE_MS = 15_000

/** While a pod does not run yet its node's notes are read this often, and ever less: a hundred may wait at once. */
const PENDING_ROUND_SECONDS = 2
const LONGEST_ROUND_SECONDS = 15

/** Bytes of one message on the connection to standard input. */
const PIECE = 32 * 1024

export type StartRequest = {
  readonly spec: SandboxSpec
  readonly jobLine: (containerId: string) => string
  readonly signal: AbortSignal
}

export type StartSettings = PodSettings & { readonly patience: Patience }

const lookAround = async (
  cluster: Cluster,
  { spec, signal }: StartRequest,
): Promise<{ own?: Pod; inTheWay: boolean }> => {
  const lists = await Promise.all([
    listPods(cluster, { [LABELS.session]: spec.session_id }, signal),
    listPods(cluster, { [LABELS.workspace]: spec.workspace_id }, signal),
  ])
  const found = lists.flat()
  const own = found.find((pod) => annotation(pod, LABELS.run) === spec.run_id)
  return { ...(own && { own }), inTheWay: found.some((pod) => annotation(pod, LABELS.run) !== spec.run_id) }
}

/** Waits for a free place: resolves with the run's own pod if there is one already. */
const findPlace = async (cluster: Cluster, request: StartRequest): Promise<Pod | undefined> => {
  const { signal } = request
  let unstarted: { uid: string; since: number } | undefined
  for (;;) {
    signal.throwIfAborted()
    const { own, inTheWay } = await lookAround(cluster, request)
    if (own && hasStarted(own) && own.metadata.deletionTimestamp === undefined) return own
    if (!own && !inTheWay) return undefined
    if (own && !hasStarted(own)) {
      if (unstarted?.uid !== own.metadata.uid) unstarted = { uid: own.metadata.uid, since: Date.now() }
      if (Date.now() - unstarted.since > UNSTARTED_MS) await removePod(cluster, own)
    }
    await pause(POLL_MS, signal)
  }
}

/** The name is in use. By a pod of this session, come since we looked: look again. By anybody else's: an error. */
const checkNameIsOurs = async (cluster: Cluster, spec: SandboxSpec): Promise<void> => {
  const pod = await getPod(cluster, podName(spec.name))
  if (pod === undefined) return
  const installation = annotation(pod, LABELS.installation)
  const ours = installation === cluster.installation && annotation(pod, LABELS.session) === spec.session_id
  if (!ours) throw nameTaken(pod.metadata.name, cluster.api.namespace, installation)
}

const create = async (cluster: Cluster, spec: SandboxSpec, settings: PodSettings): Promise<Pod | undefined> => {
  const body = podManifest(spec, settings, new Date())
  try {
    // Not bound to the caller's signal: the cluster goes on creating when we hang up, and we would not know the uid.
    return await cluster.api.call<Pod>({ resource: 'pods', verb: 'create', body })
  } catch (error) {
    if (!(error instanceof ApiRefusal && error.status === 409 && error.reason === 'AlreadyExists')) throw error
    await checkNameIsOurs(cluster, spec)
    return undefined
  }
}

/** What the cluster says about the pod, oldest first. Without the right to read it, nothing. */
const notesOf = async (cluster: Cluster, { metadata }: Pod, signal: AbortSignal): Promise<readonly Note[]> => {
  const query = { fieldSelector: `involvedObject.uid=${metadata.uid}` }
  const list = await askUnless<{ items: Note[] }>([403], cluster, { resource: 'events', verb: 'list', query }, signal)
  return list?.items ?? []
}

const goneError = (spec: SandboxSpec): EngineError =>
  new EngineError(
    'start_failed',
    `the pod of ${spec.name} was removed before it ran`,
    'Somebody removed it: another worker that ended this run, or a person.',
  )

/** Waits until the container runs, or did. Throws `EngineError` when it never will. */
const untilRunning = async (
  cluster: Cluster,
  made: Pod,
  { spec, signal }: StartRequest,
  patience: Patience,
): Promise<Pod> => {
  const since = Date.now()
  const waitedSeconds = () => (Date.now() - since) / 1000
  const rounds = () => Math.min(Math.max(PENDING_ROUND_SECONDS, waitedSeconds() / 4), LONGEST_ROUND_SECONDS)
  for await (const { pod, gone } of watchPod(cluster, made.metadata, signal, rounds)) {
    if (gone || pod === undefined) throw goneError(spec)
    if (isRunning(pod)) return pod
    const waited = waitedSeconds() * 1000
    const notes = waited < PENDING_ROUND_SECONDS * 1000 ? [] : await notesOf(cluster, pod, signal)
    const obstacle = obstacleOf(pod, notes, waited, patience, new Date())
    if (obstacle) throw obstacle
    if (isOver(pod)) return pod
  }
  throw goneError(spec)
}

const piecesOf = function* (line: string): Generator<Buffer> {
  const bytes = Buffer.from(line)
  for (let at = 0; at < bytes.length; at += PIECE) yield bytes.subarray(at, at + PIECE)
}

/** The open standard input; nothing when the container was over before anybody could attach. */
const attach = async (cluster: Cluster, pod: Pod, line: string, signal: AbortSignal): Promise<Attached | undefined> => {
  const until = Date.now() + LINE_MS
  for (;;) {
    signal.throwIfAborted()
    try {
      return await cluster.api.attach(pod.metadata.name, CONTAINER, Readable.from(piecesOf(line)))
    } catch (error) {
      const now = await getPod(cluster, pod.metadata.name, signal)
      if (now === undefined || now.metadata.uid !== pod.metadata.uid || !isRunning(now)) return undefined
      // It runs, and yet cannot be attached to: a node may be a moment behind the API server.
      if (Date.now() > until) throw callError(error)
    }
    await pause(POLL_MS, signal)
  }
}

/** Writes the line and ends standard input. A container that leaves before it has read it tells so by its exit. */
const deliver = async (cluster: Cluster, pod: Pod, line: string, signal: AbortSignal): Promise<void> => {
  const attached = await attach(cluster, pod, line, signal)
  if (!attached) return
  try {
    await within(attached.closed, LINE_MS, signal)
  } finally {
    attached.end()
  }
}

const discard = async (cluster: Cluster, pod: Pod, error: EngineError): Promise<EngineError> => {
  try {
    await removePod(cluster, pod)
  } catch (failure) {
    const message = `${error.message}; and its pod is still there: ${callError(failure).message}`
    return new EngineError(error.failure, message, error.remediation, { cause: error })
  }
  return error
}

/** @returns nothing when a pod of this session has come meanwhile: look again */
const createAndStart = async (
  cluster: Cluster,
  settings: StartSettings,
  request: StartRequest,
): Promise<string | undefined> => {
  const { spec, jobLine, signal } = request
  let made: Pod | undefined
  try {
    made = await create(cluster, spec, settings)
    if (!made) return undefined
    const pod = await untilRunning(cluster, made, request, settings.patience)
    if (!isOver(pod)) await deliver(cluster, pod, jobLine(pod.metadata.uid), signal)
    return pod.metadata.uid
  } catch (error) {
    const failure = startError(error, spec, cluster.api.namespace)
    const told = made ? await discard(cluster, made, failure) : failure
    signal.throwIfAborted()
    throw told
  }
}

/** `SandboxEngine.start`. */
export const startPod = async (
  cluster: Cluster,
  settings: StartSettings,
  request: StartRequest,
): Promise<StartResult> => {
  for (;;) {
    const own = await findPlace(cluster, request)
    if (own) return { containerId: own.metadata.uid, adopted: true }
    const containerId = await createAndStart(cluster, settings, request)
    if (containerId !== undefined) return { containerId, adopted: false }
    await pause(POLL_MS, request.signal)
  }
}
