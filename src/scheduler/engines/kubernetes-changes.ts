import type { IncomingMessage } from 'node:http'
import { pause } from '../patience.ts'
import { ApiRefusal, type KubernetesApi, readText } from './kubernetes-api.ts'
import type { Pod } from './kubernetes-pods.ts'

/** How long a watch is asked for, and how much longer it may take to end before its connection counts as dead. */
export type WatchTimes = { readonly roundSeconds: number; readonly slackMs: number }

/** A server that died without a word is noticed after both. */
export const WATCH_TIMES: WatchTimes = { roundSeconds: 50, slackMs: 10_000 }

/** How long a list may take to come in. */
const LIST_MS = 60_000

/** Between a watch that ended and the next. */
const AGAIN_MS = 100

/** Between a version that was too old and the list that replaces it. */
const RELIST_MS = 500

export type PodChange =
  /** A list is about to be asked for: what it does not show was gone by now, or is younger. */
  | { readonly kind: 'listing' }
  | { readonly kind: 'all'; readonly pods: readonly Pod[] }
  | { readonly kind: 'now'; readonly pod: Pod }
  | { readonly kind: 'gone'; readonly pod: Pod }

type WatchEvent = { readonly type: string; readonly object: Pod }

async function* linesOf(response: IncomingMessage): AsyncGenerator<string> {
  response.setEncoding('utf8')
  let rest = ''
  for await (const chunk of response as AsyncIterable<string>) {
    const lines = (rest + chunk).split('\n')
    rest = lines.pop() ?? ''
    yield* lines
  }
}

/** One watch, until the server ends it or the connection breaks or falls silent. Rejects when it cannot be opened. */
async function* watchOnce(
  api: KubernetesApi,
  labelSelector: string,
  resourceVersion: string,
  { roundSeconds, slackMs }: WatchTimes,
  signal: AbortSignal,
): AsyncGenerator<WatchEvent> {
  const query = {
    watch: true,
    allowWatchBookmarks: true,
    labelSelector,
    resourceVersion,
    timeoutSeconds: roundSeconds,
  }
  const round = AbortSignal.any([signal, AbortSignal.timeout(roundSeconds * 1000 + slackMs)])
  const response = await api.stream({ resource: 'pods', verb: 'watch', query }, round)
  const lines = linesOf(response)
  try {
    for (;;) {
      const next = await lines.next().catch(() => undefined)
      signal.throwIfAborted()
      if (next === undefined || next.done) return
      yield JSON.parse(next.value) as WatchEvent
    }
  } finally {
    response.destroy()
  }
}

/**
 * What changes from that version on, watch after watch, each from where the one before ended: bookmarks move that place on while
 * nothing happens. Returns when the server does not know the version any more (410), or says that its watch failed.
 */
export async function* changesSince(
  api: KubernetesApi,
  labelSelector: string,
  version: string,
  times: WatchTimes,
  signal: AbortSignal,
): AsyncGenerator<PodChange> {
  let at = version
  for (;;) {
    try {
      for await (const { type, object } of watchOnce(api, labelSelector, at, times, signal)) {
        if (type === 'ERROR') return
        at = object.metadata.resourceVersion
        if (type !== 'BOOKMARK') yield { kind: type === 'DELETED' ? 'gone' : 'now', pod: object }
      }
    } catch (error) {
      if (error instanceof ApiRefusal && error.status === 410) return
      throw error
    }
    await pause(AGAIN_MS, signal)
  }
}

/**
 * The pods with those labels, and then each change of them, without end: a list, and watches from its version on; another list only
 * where the server has forgotten that version. A connection that breaks is replaced by one that goes on at the same place. Rejects
 * when the server cannot be reached or refuses, or with `signal.reason`.
 */
export async function* podChanges(
  api: KubernetesApi,
  labelSelector: string,
  times: WatchTimes,
  signal: AbortSignal,
): AsyncGenerator<PodChange> {
  type PodList = { readonly metadata: { readonly resourceVersion: string }; readonly items: readonly Pod[] }
  for (;;) {
    yield { kind: 'listing' }
    // On a connection of its own, as it follows one that died, perhaps without a word.
    const limit = AbortSignal.any([signal, AbortSignal.timeout(LIST_MS)])
    const response = await api.stream({ resource: 'pods', verb: 'list', query: { labelSelector } }, limit)
    const { metadata, items } = JSON.parse(await readText(response)) as PodList
    yield { kind: 'all', pods: items }
    yield* changesSince(api, labelSelector, metadata.resourceVersion, times, signal)
    await pause(RELIST_MS, signal)
  }
}
