import { eventIds } from '#contracts/events.ts'
import { announceAgent } from './agent-start.ts'
import { isTaken, readHistory } from './history.ts'
import { checkJob } from './job-line.ts'
import { createLiveRun, type LiveRun } from './live-run.ts'
import type { LoopEnd } from './loop.ts'
import type { Recorded } from './recorder.ts'
import { endData, lastWords, type RunEnd } from './run-end.ts'
import type { ExitName, RunnerSetup } from './runner-setup.ts'
import { errorText } from './tools/tool.ts'
import { workspaceProblem } from './workspace-check.ts'

const HEARTBEAT_MS = 10_000

/** Once told to end, the last events must be stored within this time: the worker kills after its own grace (10 s). */
const LAST_EVENTS_MS = 8_000

const findFault = async ({ rawJob, workspace }: RunnerSetup): Promise<RunEnd | undefined> => {
  const wrong = await checkJob(rawJob)
  if (wrong !== undefined) return { kind: 'unusable', cause: 'agent_error', message: `the job is wrong: ${wrong}` }
  const problem = await workspaceProblem(workspace)
  return problem === undefined ? undefined : { kind: 'unusable', cause: 'workspace_unavailable', message: problem }
}

const toEnd = (end: LoopEnd, { setup, startedAt, stopped }: LiveRun): RunEnd => {
  if (end.kind !== 'stopped') return end
  const seconds = Math.round((Date.parse(setup.job.deadline) - startedAt) / 1000)
  return stopped() === 'deadline' ? { kind: 'deadline', seconds } : { kind: 'ending' }
}

const startHeartbeat = ({ progress, recorder }: LiveRun): Disposable => {
  const timer = setInterval(() => {
    const { steps: step, state, toolCallId } = progress
    recorder.record('heartbeat', { step, state, ...(toolCallId === undefined ? {} : { tool_call_id: toolCallId }) })
  }, HEARTBEAT_MS)
  return { [Symbol.dispose]: () => clearInterval(timer) }
}

/** Everything between `agent_start` and `agent_end`. */
const doWork = async (run: LiveRun): Promise<RunEnd | { kind: 'taken' }> => {
  const { setup, signal } = run
  try {
    // `agent_start` is stored: from here on what is heavy may be loaded.
    const [history, { work }, fault] = await Promise.all([
      readHistory(setup.sink, setup.job.run_id, signal),
      import('./work.ts'),
      findFault(setup),
    ])
    if (isTaken(history, setup.job.container_id)) return { kind: 'taken' }
    // Told to end before it could be known whose run this is: the worker closes what there is to close.
    if (!history.complete && setup.hasWorker) return { kind: 'taken' }
    if (fault !== undefined) return fault
    using _heartbeat = startHeartbeat(run)
    return toEnd(await work({ ...run, history }), run)
  } catch (error) {
    const message = `the runner failed: ${errorText(error)}`
    return { kind: 'failed', code: 'runner_failed', message, retryable: false }
  }
}

/** Writes the last events. `finish` is left to the worker where somebody else has asked for the end: only it knows why. */
const conclude = async (run: LiveRun, end: RunEnd): Promise<ExitName> => {
  const { setup, recorder, progress, startedAt } = run
  const words = lastWords(end, progress)
  const { agentEnd, finish } = endData(words, progress, Date.now() - startedAt)
  const runId = setup.job.run_id
  if (words.error !== undefined) setup.complain(words.error)
  setup.say(`agent ended: ${words.agent.status} (${progress.steps} steps, ${progress.toolCalls} tool calls)`)
  const ended = recorder.settle('agent_end', agentEnd, { id: eventIds.agentEnd(runId) })
  if (setup.hasWorker && end.kind === 'ending') return (await ended) === 'lost' ? 'cannotStore' : words.exit
  const recorded = await recorder.settle('finish', finish, {
    id: eventIds.finish(runId),
    ...(setup.hasWorker ? { unlessEnding: true } : {}),
  })
  if (recorded === 'lost') return 'cannotStore'
  return recorded === 'ending' ? 'terminated' : words.exit
}

const EXIT_UNBEGUN: Readonly<Record<Exclude<Recorded, 'stored'>, ExitName>> = {
  ending: 'terminated',
  finished: 'terminated',
  lost: 'cannotStore',
}

const wholeRun = async (run: LiveRun): Promise<ExitName> => {
  const { setup, recorder, stopped } = run
  const { job } = setup
  const announced = announceAgent(setup, recorder)
  setup.say(`agent started: session ${job.session_id}, run ${job.run_id}, model ${job.model}`)
  const begun = await announced
  if (begun !== 'stored') {
    setup.complain(`the run is over before it began (${begun}); leaving`)
    return EXIT_UNBEGUN[begun]
  }
  const end = await doWork(run)
  if (end.kind === 'taken' || stopped() === 'finished') {
    setup.complain('the run is over, or another container has it or had it; leaving')
    return 'terminated'
  }
  return stopped() === 'cannot_store' ? 'cannotStore' : conclude(run, end)
}

/** Works on one job, from `agent_start` to the exit code. */
export const runJob = async (setup: RunnerSetup): Promise<ExitName> => {
  using run = createLiveRun(setup)
  const overdue = Promise.withResolvers<ExitName>()
  let timer: NodeJS.Timeout | undefined
  const onTerminated = () => {
    timer = setTimeout(() => overdue.resolve('terminated'), LAST_EVENTS_MS)
  }
  setup.terminated.addEventListener('abort', onTerminated, { once: true })
  if (setup.terminated.aborted) onTerminated()
  try {
    return await Promise.race([wholeRun(run), overdue.promise])
  } finally {
    setup.terminated.removeEventListener('abort', onTerminated)
    clearTimeout(timer)
  }
}
