import type { Inflict } from './inflict.ts'
import type { Plan } from './plan.ts'
import type { Sessions } from './sessions.ts'

const EVERY_MS = 5_000

export type ProgressOptions = {
  readonly plan: Plan
  readonly sessions: Sessions
  readonly inflict: Inflict
  /** Milliseconds since the beginning. */
  readonly now: () => number
  readonly say: (line: string) => void
}

const clock = (ms: number): string => `${String(Math.round(ms / 1000)).padStart(5)} s`

/** Says every few seconds how far it is, and what has struck meanwhile. */
export const startProgress = ({ plan, sessions, inflict, now, say }: ProgressOptions): Disposable => {
  let told = 0
  const tell = () => {
    for (const { at, until, what, error } of inflict.struck.slice(told)) {
      const lasted = until - at < 1_000 ? '' : ` (${((until - at) / 1000).toFixed(1)} s)`
      say(`${clock(at)}    ${what}${lasted}${error === undefined ? '' : `: ${error}`}`)
    }
    told = inflict.struck.length
    const { begun, over } = sessions.counts
    const atWork = [...inflict.atWork].map(({ kind }) => kind)
    const going = atWork.length === 0 ? '' : ` · now ${atWork.join(', ')}`
    say(
      `${clock(now())}  ${begun} of ${plan.sessions.length} sessions begun, ${over} over · ${told} of ${plan.faults.length} faults${going}`,
    )
  }
  const timer = setInterval(tell, EVERY_MS)
  return {
    [Symbol.dispose]() {
      clearInterval(timer)
      tell()
    },
  }
}
