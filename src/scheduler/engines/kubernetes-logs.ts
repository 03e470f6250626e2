import type { IncomingMessage } from 'node:http'
import { pause, untilDone } from '../patience.ts'
import type { SandboxRef } from './engine.ts'
import { ApiRefusal } from './kubernetes-api.ts'
import { callError } from './kubernetes-errors.ts'
import { createLogPlace, type LogPlace, type Resume } from './kubernetes-log-place.ts'
import { CONTAINER } from './kubernetes-manifest.ts'
import { type Cluster, type Pod, podsOf } from './kubernetes-pods.ts'
import { hasStarted, isOver } from './kubernetes-state.ts'
import { watchPod } from './kubernetes-watch.ts'

const PENDING_ROUND_SECONDS = 5

/** A stream that is silent for so long is opened anew, in case its connection died without a word. */
const SILENT_MS = 120_000

/** A container that is over is shown so by its node soon after its output ended. */
const OVER_SECONDS = 1

/** Between a stream that broke and the next. */
const AGAIN_MS = 100

/** Nothing to read: the pod is gone (404), or its container is (400, in words). */
const hasNothing = (error: unknown): boolean =>
  error instanceof ApiRefusal && (error.status === 404 || error.status === 400)

const untilStarted = async (cluster: Cluster, pod: Pod, signal: AbortSignal): Promise<boolean> => {
  if (hasStarted(pod)) return true
  for await (const { pod: now, gone } of watchPod(cluster, pod.metadata, signal, () => PENDING_ROUND_SECONDS)) {
    if (gone) return false
    if (now && hasStarted(now)) return true
  }
  return false
}

/** What became of a pod whose stream ended: over (if need be in a moment), gone, or it runs on. */
const stateAfter = async (
  cluster: Cluster,
  pod: Pod,
  mayEnd: boolean,
  signal: AbortSignal,
): Promise<'over' | 'gone' | 'runs'> => {
  let looks = 0
  for await (const { pod: now, gone } of watchPod(cluster, pod.metadata, signal, () => OVER_SECONDS)) {
    if (gone) return 'gone'
    if (now && isOver(now)) return 'over'
    if (looks++ > 0 || !mayEnd) return 'runs'
  }
  return 'gone'
}

const open = ({ api }: Cluster, { metadata }: Pod, from: Resume, signal: AbortSignal): Promise<IncomingMessage> => {
  const query = { container: CONTAINER, follow: true, timestamps: true, ...from }
  return api.stream({ resource: 'pods/log', verb: 'get', name: metadata.name, query }, signal)
}

/** @returns whether the stream came to an end: false when it broke, or was silent for too long */
async function* read(
  stream: IncomingMessage,
  place: LogPlace,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array, boolean> {
  const timer = setTimeout(() => stream.destroy(), SILENT_MS)
  const chunks = (stream as AsyncIterable<Uint8Array>)[Symbol.asyncIterator]()
  try {
    for (;;) {
      const next = await chunks.next().catch(() => undefined)
      if (next === undefined || next.done || signal.aborted) return next?.done === true
      const fresh = place.take(next.value)
      if (fresh.length > 0) yield fresh
      timer.refresh()
    }
  } finally {
    clearTimeout(timer)
    stream.destroy()
  }
}

/** The rest of what the pod says, or nothing where there is none. A pod is named, so it is looked at first: it may be another one. */
const reopen = async (
  cluster: Cluster,
  pod: Pod,
  place: LogPlace,
  hasEnded: boolean,
  signal: AbortSignal,
): Promise<IncomingMessage | undefined> => {
  const state = await stateAfter(cluster, pod, hasEnded, signal)
  if (state === 'gone' || (hasEnded && state === 'over')) return undefined
  return open(cluster, pod, place.resume(), signal).catch((error: unknown) => {
    if (hasNothing(error)) return undefined
    throw error
  })
}

/**
 * `SandboxEngine.logs`. Read with time stamps, by which a stream that broke is gone on with where it was, for as long as it takes.
 * What the node has rotated away (`containerLogMaxSize`, 10 MiB) is read by those who follow, and by nobody who begins later.
 */
export async function* podLogs(cluster: Cluster, ref: SandboxRef, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  if (signal.aborted) return
  try {
    const [pod] = await podsOf(cluster, ref, signal)
    if (!pod || !(await untilStarted(cluster, pod, signal))) return
    const place = createLogPlace()
    let stream: IncomingMessage | undefined = await open(cluster, pod, {}, signal)
    while (stream !== undefined) {
      const hasEnded: boolean = yield* read(stream, place, signal)
      if (signal.aborted) return
      if (!hasEnded) await pause(AGAIN_MS, signal)
      stream = await untilDone(() => reopen(cluster, pod, place, hasEnded, signal), signal)
    }
  } catch (error) {
    if (!signal.aborted && !hasNothing(error)) throw callError(error)
  }
}
