import type { Sight } from './kubernetes-feed.ts'
import { type Cluster, getPod, type Pod } from './kubernetes-pods.ts'

/** A pod is shown again this often, for those who go by the clock. */
const ROUND_SECONDS = 50

/**
 * That pod (name and uid) as it is, and then at each change, until it is gone; and again after `roundSeconds` without one, which
 * costs the cluster nothing. Rejects with `engine_unavailable`, or `signal.reason`.
 */
export async function* watchPod(
  cluster: Cluster,
  { name, uid }: Pick<Pod['metadata'], 'name' | 'uid'>,
  signal: AbortSignal,
  roundSeconds: (pod: Pod) => number = () => ROUND_SECONDS,
): AsyncGenerator<Sight> {
  signal.throwIfAborted()
  // Before the look, so that nothing can happen between the two.
  using news = cluster.feed.subscribe(uid)
  let last = await getPod(cluster, name, signal)
  if (last === undefined || last.metadata.uid !== uid) return yield { gone: true }
  news.confirm()
  for (;;) {
    yield { pod: last, gone: false }
    const sight = await news.next(roundSeconds(last) * 1000, signal)
    last = sight?.pod ?? last
    if (sight?.gone) return yield { pod: last, gone: true }
  }
}
