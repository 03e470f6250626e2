import { within } from '../patience.ts'
import type { EngineError } from './engine.ts'
import type { KubernetesApi } from './kubernetes-api.ts'
import { type PodChange, podChanges, WATCH_TIMES } from './kubernetes-changes.ts'
import { callError } from './kubernetes-errors.ts'
import type { Pod } from './kubernetes-pods.ts'

/** Between the steps of a run nobody listens for a moment: the watch stays open over that. */
const LINGER_MS = 1_000

/** A pod as it was last seen; `gone`: it is there no more. `pod` is absent when it never was. */
export type Sight = { readonly pod?: Pod; readonly gone: boolean }

/** What happens to one pod, as far as it was not taken yet: of several changes the last. */
export type PodNews = Disposable & {
  /** The pod was looked at, and was there: from now on a list without it says that it is gone. */
  confirm(): void
  /** The next change; `undefined` when none came in `ms`. Rejects with `engine_unavailable`, or `signal.reason`. */
  next(ms: number, signal: AbortSignal): Promise<Sight | undefined>
}

/** The changes of this installation's pods, by one watch for all who wait for any of them. Open while somebody does. */
export type PodFeed = { subscribe(uid: string): PodNews }

type Listener = {
  readonly uid: string
  readonly tell: (news: Sight | { readonly error: EngineError }) => void
  confirmed: boolean
  /** It was confirmed before the list that is under way was asked for. */
  listed: boolean
}

const createListener = (uid: string): { readonly listener: Listener; readonly next: PodNews['next'] } => {
  let news: Sight | { readonly error: EngineError } | undefined
  let arrived = Promise.withResolvers<void>()
  const tell: Listener['tell'] = (one) => {
    // The last state of a pod is told with its end, whatever told that.
    const former = news !== undefined && !('error' in news) ? news : undefined
    const pod = 'error' in one ? undefined : (one.pod ?? former?.pod)
    if (!former?.gone) news = 'error' in one ? one : { ...(pod && { pod }), gone: one.gone }
    arrived.resolve()
  }
  return {
    listener: { uid, tell, confirmed: false, listed: false },
    async next(ms, signal) {
      await within(arrived.promise, ms, signal)
      const taken = news
      news = undefined
      arrived = Promise.withResolvers()
      if (taken !== undefined && 'error' in taken) throw taken.error
      return taken
    },
  }
}

const tellAll = (listeners: ReadonlyMap<string, ReadonlySet<Listener>>, change: PodChange): void => {
  if (change.kind === 'now' || change.kind === 'gone') {
    const sight = { pod: change.pod, gone: change.kind === 'gone' }
    for (const listener of listeners.get(change.pod.metadata.uid) ?? []) listener.tell(sight)
    return
  }
  const all = [...listeners.values()].flatMap((some) => [...some])
  if (change.kind === 'listing') {
    for (const listener of all) listener.listed = listener.confirmed
    return
  }
  const pods = new Map(change.pods.map((pod) => [pod.metadata.uid, pod]))
  for (const { uid, listed, tell } of all) {
    const pod = pods.get(uid)
    if (pod) tell({ pod, gone: false })
    else if (listed) tell({ gone: true })
  }
}

/**
 * Costs as much as there are changes, whoever listens. When the server cannot be reached every listener is told, and the watch
 * begins anew, by a list, with the next one that subscribes.
 */
export const createPodFeed = (api: KubernetesApi, labelSelector: string, times = WATCH_TIMES): PodFeed => {
  const listeners = new Map<string, Set<Listener>>()
  let watching: AbortController | undefined
  let leaving: NodeJS.Timeout | undefined

  const watch = async (own: AbortController): Promise<void> => {
    try {
      for await (const change of podChanges(api, labelSelector, times, own.signal)) tellAll(listeners, change)
    } catch (error) {
      if (watching !== own) return
      watching = undefined
      for (const some of listeners.values()) for (const listener of some) listener.tell({ error: callError(error) })
    }
  }
  const leave = (): void => {
    const own = watching
    watching = undefined
    own?.abort()
  }
  return {
    subscribe(uid) {
      clearTimeout(leaving)
      const { listener, next } = createListener(uid)
      const same = listeners.get(uid) ?? new Set()
      listeners.set(uid, same.add(listener))
      if (watching === undefined) {
        watching = new AbortController()
        void watch(watching)
      }
      return {
        next,
        confirm: () => {
          listener.confirmed = true
        },
        [Symbol.dispose]: () => {
          same.delete(listener)
          if (same.size === 0 && listeners.get(uid) === same) listeners.delete(uid)
          clearTimeout(leaving)
          if (listeners.size === 0) leaving = setTimeout(leave, LINGER_MS)
        },
      }
    },
  }
}
