import type { Cause } from '#contracts/causes.ts'
import type { Manner, RunPlan } from './plan.ts'

/** The file of the workspace in which each run's first command leaves one line: a run that worked twice leaves two. */
export const RAN_FILE = 'ran.txt'

/** The parent of a command is the runner. */
const MANNER_LINES: Readonly<Record<Manner, readonly string[]>> = {
  quiet: [],
  chatty: ['$ seq 1 300', '$ for i in 1 2 3 4 5; do echo line $i; sleep 0.2; done'],
  long: ['$ sleep 2'],
  failing: ['$ exit 3', 'refuse'],
  violent: ['$ kill -KILL $PPID'],
  frozen: ['$ kill -STOP $PPID'],
  deaf: [`$ trap '' TERM; sleep 300`],
  steady: [],
  background: [`$ (trap '' TERM HUP; while :; do sleep 1; done) & setsid sleep 300 & echo left`],
}

/** How a run of this manner ends when nobody touches its container. */
export const CAUSE_OF: Readonly<Record<Manner, Cause>> = {
  quiet: 'completed',
  chatty: 'completed',
  long: 'completed',
  failing: 'agent_error',
  violent: 'container_exited',
  frozen: 'timeout',
  deaf: 'timeout',
  background: 'completed',
  steady: 'completed',
}

/** One short command after the other, each a step and an answer of its own. */
const steps = ({ manner, words, paceMs }: RunPlan): string[] =>
  manner === 'steady' ? Array.from({ length: words }, (_, n) => `$ sleep ${paceMs / 1000}; echo step ${n}`) : []

/** What the scripted model reads its answers from: one line each, after the title. */
export const promptOf = (label: string, run: RunPlan): string => {
  const { manner, words, paceMs } = run
  const lines = [...MANNER_LINES[manner], ...steps(run), `say ${words} ${paceMs}`]
  return [`Run ${label}`, `$ echo ${label} >> ${RAN_FILE}`, ...lines].join('\n')
}
