import { followEvents, type SessionFollower } from '../../e2e/session-follower.ts'
import type { ClientPlan } from './plan.ts'

/** One client of a run, over all its connections. */
export type Client = { readonly name: string; readonly follower: SessionFollower; readonly plan: ClientPlan }

const dropAgainAndAgain = (follower: SessionFollower, everyMs: number): void => {
  const timer = setInterval(() => follower.cut(), everyMs)
  follower.done.finally(() => clearInterval(timer)).catch(() => {})
}

/** Begins to follow. `index`: the clients of a run come to different APIs first. */
export const startClient = (
  plan: ClientPlan,
  index: number,
  urls: readonly [string, ...string[]],
  eventsUrl: string,
): Client => {
  const at = index % urls.length
  const addresses = [...urls.slice(at), ...urls.slice(0, at)].map((url) => `${url}${eventsUrl}`) as [
    string,
    ...string[],
  ]
  const follower = followEvents(addresses, plan.habit === 'slow' ? { perEventMs: plan.perEventMs } : {})
  if (plan.habit === 'dropping') dropAgainAndAgain(follower, plan.everyMs)
  return { name: `${plan.habit} client ${index}`, follower, plan }
}
