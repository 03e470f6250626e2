import type { SessionEvent } from '#contracts/events.ts'
import type { Run } from '#contracts/run.ts'
import { createOpenParts } from '#store/open-parts.ts'
import { type Box, finishOf, isAtWork, logOf, type World } from './world.ts'

/** What a log alone must say of a run, in the words of the promise that is broken. */
const brokenOwn = (own: readonly SessionEvent[]): string | undefined => {
  if (own[0] !== undefined && own[0].event_type !== 'user_message') return 'user_message comes first'
  const finishes = own.filter((event) => event.event_type === 'finish')
  if (finishes.length === 0) return undefined
  const last = own.at(-1)
  if (finishes.length > 1 || last?.event_type !== 'finish') return 'one finish, and nothing behind it'
  if (own.some((event) => event.event_type === 'cancel_requested') && last.data.cause !== 'cancelled')
    return 'a cancel that is stored before finish ends as cancelled'
  const count = (type: string) => own.filter((event) => event.event_type === type).length
  const parts = createOpenParts()
  for (const event of own) parts.add(event)
  const open = parts.closings({ run_id: last.run_id } as Run, 'none').length > 0
  const twice = count('agent_end') > count('agent_start') || count('tool_end') !== count('tool_start')
  const end = own.findIndex((event) => event.event_type === 'agent_end')
  const late = end >= 0 && own.slice(end).some((event) => event.event_type.startsWith('tool'))
  return open || twice || late ? 'what was begun is closed, once, before agent_end' : undefined
}

const checkedLogs = new WeakMap<readonly SessionEvent[], string | null>()

const brokenLog = (log: readonly SessionEvent[]): string | undefined => {
  const known = checkedLogs.get(log)
  if (known !== undefined) return known ?? undefined
  const gap = log.some((event, i) => event.seq !== i + 1) ? 'seq counts from 1 without gaps' : undefined
  const runs = [...new Set(log.map((event) => event.run_id))]
  const broken =
    gap ?? runs.map((id) => brokenOwn(log.filter((event) => event.run_id === id))).find((one) => one !== undefined)
  checkedLogs.set(log, broken ?? null)
  return broken
}

const brokenDocument = (w: World, run: Run): string | undefined => {
  if (run.state !== 'finished') return undefined
  const finish = finishOf(w, run)
  if (finish === undefined) return 'a document is finished only when finish is in the log'
  const same = run.result === undefined || run.result.cause === finish.data.cause
  return same ? undefined : 'the document says what the log says'
}

const workspaceOf = (w: World, box: Box): string | undefined => w.runs[box.run_id]?.workspace_id

const brokenWork = (w: World): string | undefined => {
  const working = w.boxes.filter(isAtWork)
  const places = working.map((box) => workspaceOf(w, box))
  // One that has yet to find out whose run it is does nothing to the workspace.
  const acting = working.filter(({ runner }) => runner.at !== 'check')
  if (acting.length > 1 && new Set(acting.map((box) => workspaceOf(w, box))).size < acting.length)
    return 'never two containers at work on one workspace'
  const unseen = acting.some((box) => {
    const run = w.runs[box.run_id]
    const start =
      run && logOf(w, run).find((event) => event.run_id === run.run_id && event.event_type === 'agent_start')
    return start === undefined || ('container_id' in start.data && start.data.container_id !== box.id)
  })
  return unseen && places.length > 0 ? 'what a container does is in the log' : undefined
}

const brokenLocks = (runs: readonly Run[]): string | undefined => {
  const locked = runs.filter(({ lock }) => lock)
  const unique = (of: (run: Run) => string) => new Set(locked.map(of)).size === locked.length
  return unique((run) => run.session_id) && unique((run) => run.workspace_id)
    ? undefined
    : 'one lock for a session and a workspace'
}

/** The promise that this state breaks, if any. */
export const brokenPromise = (w: World): string | undefined => {
  for (const log of Object.values(w.logs)) {
    const broken = brokenLog(log)
    if (broken !== undefined) return broken
  }
  const runs = Object.values(w.runs)
  for (const run of runs) {
    const broken = brokenDocument(w, run)
    if (broken !== undefined) return broken
  }
  return brokenWork(w) ?? brokenLocks(runs)
}

/** Every accepted run has its finish, in log and document, and holds nothing. */
export const areAllFinished = (w: World): boolean =>
  Object.values(w.runs).every((run) => run.state === 'finished' && !run.lock && finishOf(w, run) !== undefined)

const servedEngines = (w: World): Set<string> =>
  new Set(w.workers.flatMap(({ asleep, engine }) => (asleep ? [] : [engine])))

/** And nothing of them is left, on engines that have a worker. */
export const isAllGone = (w: World): boolean => {
  const served = servedEngines(w)
  return (
    areAllFinished(w) &&
    Object.values(w.runs).every((run) => run.container_gone) &&
    !w.boxes.some((box) => box.listed && served.has(box.engine))
  )
}
