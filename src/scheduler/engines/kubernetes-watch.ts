import type { IncomingMessage } from 'node:http'
import { pause } from '../patience.ts'
import { callError } from './kubernetes-errors.ts'
import { type Cluster, getPod, type Pod } from './kubernetes-pods.ts'

/** A watch is asked for so long: a server that died without a word is noticed then. */
const ROUND_SECONDS = 50

/** How much longer than asked for a watch may take to end. */
const SLACK_MS = 10_000

/** Between a watch that the server ended at once and the next. */
const AGAIN_MS = 100

type Change = { readonly type: string; readonly object: Pod & { readonly code?: number } }

async function* linesOf(response: IncomingMessage): AsyncGenerator<string> {
  response.setEncoding('utf8')
  let rest = ''
  for await (const chunk of response as AsyncIterable<string>) {
    const lines = (rest + chunk).split('\n')
    rest = lines.pop() ?? ''
    yield* lines
  }
}

/** One watch, until the server ends it, as its limit or its memory wants it. */
async function* changes(
  { api }: Cluster,
  name: string,
  resourceVersion: string,
  seconds: number,
  signal: AbortSignal,
): AsyncGenerator<Change> {
  const query = {
    watch: true,
    fieldSelector: `metadata.name=${name}`,
    resourceVersion,
    timeoutSeconds: seconds,
  }
  const response = await api.stream({ resource: 'pods', verb: 'watch', query }, signal)
  try {
    for await (const line of linesOf(response)) yield JSON.parse(line) as Change
  } finally {
    response.destroy()
  }
}

/** A pod as it was last seen; `gone`: it is there no more. `pod` is absent when it never was. */
export type Sight = { readonly pod?: Pod; readonly gone: boolean }

/** What happens to `pod` from now on, until a watch of `seconds` ends. */
async function* sightsOf(cluster: Cluster, pod: Pod, seconds: number, signal: AbortSignal): AsyncGenerator<Sight> {
  const { name, uid, resourceVersion } = pod.metadata
  const limit = AbortSignal.timeout(seconds * 1000 + SLACK_MS)
  let last = pod
  try {
    const round = AbortSignal.any([signal, limit])
    for await (const { type, object } of changes(cluster, name, resourceVersion, seconds, round)) {
      // 410, the version is too old for the server, or its watch broke: a look at the pod tells more.
      if (type === 'ERROR') return
      const isSame = object.metadata.uid === uid
      if (isSame) last = object
      yield { pod: last, gone: type === 'DELETED' || !isSame }
    }
  } catch (error) {
    signal.throwIfAborted()
    throw callError(error)
  }
}

/**
 * That pod (name and uid) as it is, and then at each change, until it is gone. A watch lasts `roundSeconds`; then the pod is
 * looked at and shown again, for those who go by the clock. So no version is ever older than a round, and bookmarks,
 * which are for long watches, are not needed. Rejects with `engine_unavailable`, or `signal.reason`.
 */
export async function* watchPod(
  cluster: Cluster,
  { name, uid }: Pick<Pod['metadata'], 'name' | 'uid'>,
  signal: AbortSignal,
  roundSeconds: (pod: Pod) => number = () => ROUND_SECONDS,
): AsyncGenerator<Sight> {
  let last: Pod | undefined
  for (;;) {
    signal.throwIfAborted()
    const pod = await getPod(cluster, name, signal)
    if (pod === undefined || pod.metadata.uid !== uid) return yield { ...(last && { pod: last }), gone: true }
    last = pod
    yield { pod, gone: false }
    for await (const sight of sightsOf(cluster, pod, roundSeconds(pod), signal)) {
      yield sight
      if (sight.gone) return
      last = sight.pod ?? last
    }
    await pause(AGAIN_MS, signal)
  }
}
