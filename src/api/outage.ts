import { MgxError } from '#contracts/errors.ts'
import type { JobQueue } from '#queue/job-queue.ts'
import type { Store } from '#store/store.ts'

/** Mistakes of ours, not of the service behind the port. */
const isBug = (error: unknown): boolean =>
  error instanceof TypeError ||
  error instanceof RangeError ||
  error instanceof ReferenceError ||
  error instanceof SyntaxError

/** The caller learns which service is missing and nothing more; the reason travels as `cause` to the log. */
const toOutage = (error: unknown, service: string): unknown => {
  if ((error instanceof MgxError && error.status < 500) || isBug(error)) return error
  const outage = new MgxError('UNAVAILABLE', `The ${service} does not answer.`, `${service} unavailable`)
  outage.cause = error
  return outage
}

/** The same port; where a promise of it rejects, it does so with `UNAVAILABLE`. */
const guard = <T extends object>(port: T, service: string): T =>
  new Proxy(port, {
    get(target, key) {
      const member: unknown = Reflect.get(target, key, target)
      if (typeof member !== 'function') return member
      return (...args: unknown[]): unknown => {
        const answer: unknown = member.apply(target, args)
        if (!(answer instanceof Promise)) return answer
        return answer.catch((error: unknown) => {
          throw toOutage(error, service)
        })
      }
    },
  })

/** A store whose outages the API answers with 503. */
export const guardStore = ({ events, runs, logs }: Store): Store => ({
  events: guard(events, 'store'),
  runs: guard(runs, 'store'),
  logs: guard(logs, 'store'),
})

/** A queue whose outages the API answers with 503, where it answers them at all. */
export const guardQueue = (queue: JobQueue): JobQueue => guard(queue, 'queue')
