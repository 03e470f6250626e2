import { setTimeout as sleep } from 'node:timers/promises'
import type { ScriptedRunner } from './scripted-box.ts'

/** 128 + SIGTERM. */
const TERMINATED = 143

const aborted = (signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    if (signal.aborted) resolve()
    else signal.addEventListener('abort', () => resolve(), { once: true })
  })

/** Does nothing until it is told to go; then it goes. */
export const hangs: ScriptedRunner = async ({ term }) => {
  await aborted(term)
  return TERMINATED
}

/** Must be killed. */
export const ignoresTerm: ScriptedRunner = async ({ killed }) => {
  await aborted(killed)
  return 0
}

/** Ends with this code, at once or after a while. */
export const exits =
  (code: number, afterMs = 0): ScriptedRunner =>
  async ({ killed }) => {
    if (afterMs > 0) await sleep(afterMs, undefined, { signal: killed }).catch(() => {})
    return code
  }

export const runsOutOfMemory: ScriptedRunner = () => 'oom'

/** The first container gets the first runner, and so on; further ones the last. */
export const inTurn = (...runners: [ScriptedRunner, ...ScriptedRunner[]]): ScriptedRunner => {
  let next = 0
  return (self) => {
    const runner = runners[Math.min(next, runners.length - 1)] ?? runners[0]
    next += 1
    return runner(self)
  }
}

/** Each run its own runner. */
export const byRun =
  (runners: Readonly<Record<string, ScriptedRunner>>, other: ScriptedRunner = hangs): ScriptedRunner =>
  (self) =>
    (runners[self.spec.run_id] ?? other)(self)
