import { isTaken } from '#agent-runner/history.ts'
import {
  type EventData,
  type EventType,
  eventIds,
  makeEvent,
  type NewEvent,
  type SessionEvent,
} from '#contracts/events.ts'
import { RUNNER_EXIT } from '#contracts/job.ts'
import type { Run } from '#contracts/run.ts'
import type { AppendOptions } from '#store/event-log.ts'
import { append, type Box, is, logOf, type Moves, putBox, type Runner, type Scope, type World } from './world.ts'

export const NEW_RUNNER: Runner = { at: 'begin', said: 0, tools: 0, ending: false, code: 0 }

/** Only what the protocol looks at; the rest of the payloads says nothing to it. */
const told = <T extends EventType>(run: Run, id: string, type: T, part: Partial<EventData[T]>): NewEvent =>
  makeEvent(run, id, type, part as EventData[T]) as NewEvent

/** What a runner says at its place; its closings and its last words have ids of their own, the rest is numbered. */
const wordsOf = (run: Run, box: Box): NewEvent => {
  const { run_id } = run
  const { at, said, tools, ending } = box.runner
  const id = eventIds.runner(run_id, said)
  if (at === 'begin') return told(run, id, 'agent_start', { container_id: box.id, model: 'm' })
  if (at === 'tool') return told(run, id, 'tool_end', { tool_call_id: `t${tools}` })
  if (at === 'last')
    return makeEvent(run, eventIds.finish(run_id), 'finish', {
      status: 'success',
      cause: 'completed',
      synthetic: false,
    })
  return told(run, eventIds.agentEnd(run_id), 'agent_end', { status: ending ? 'cancelled' : 'completed' })
}

const toolStart = (run: Run, { runner }: Box): NewEvent =>
  told(run, eventIds.runner(run.run_id, runner.said), 'tool_start', {
    tool_call_id: `t${runner.tools + 1}`,
    tool_name: 'bash',
  })

type Voice = { readonly w: World; readonly run: Run; readonly box: Box; readonly who: string }

const leave = (box: Box, code: number): Box => ({ ...box, runner: { ...box.runner, at: 'leaving', code } })

/** Stores one event and goes on to `then`; once the run is over, or (with `unlessEnding`) being ended, it leaves. */
const say = (voice: Voice, event: NewEvent, then: Partial<Runner>, options?: AppendOptions): Moves => {
  const { run, box, who } = voice
  const { w, result } = append(voice.w, run, [event], options)
  const numbered = event._id.includes(':r:') ? 1 : 0
  const runner = { ...box.runner, ...then, said: box.runner.said + numbered }
  const after =
    result.outcome !== 'stored'
      ? leave(box, RUNNER_EXIT.terminated)
      : { ...box, runner: { ...runner, ending: runner.ending || result.ending } }
  return [{ who, kind: 'step', what: `says ${event.event_type}: ${result.outcome}`, next: putBox(w, after) }]
}

const checkTaken = ({ w, run, box, who }: Voice, heeds: boolean): Moves => {
  const own: SessionEvent[] = logOf(w, run).filter((event) => event.run_id === run.run_id)
  const taken = heeds && isTaken({ own }, box.id)
  const next = taken ? leave(box, RUNNER_EXIT.terminated) : { ...box, runner: { ...box.runner, at: 'work' as const } }
  return [
    {
      who,
      kind: 'step',
      what: taken ? 'reads that another container has the run' : 'reads the log',
      next: putBox(w, next),
    },
  ]
}

const work = (voice: Voice, scope: Scope): Moves => {
  const { run, box } = voice
  const { ending, tools } = box.runner
  if (ending || box.term) {
    const told = { ...box, runner: { ...box.runner, ending: true } }
    return say({ ...voice, box: told }, wordsOf(run, told), { at: 'leaving', code: RUNNER_EXIT.terminated })
  }
  if (tools < scope.tools) return say(voice, toolStart(run, box), { at: 'tool', tools: tools + 1 })
  return say(voice, wordsOf(run, box), { at: 'last' })
}

/** What the runner in this container does next: its contract in one page (src/agent-runner/run.ts). */
export const runnerMoves = (w: World, box: Box, scope: Scope): Moves => {
  const run = w.runs[box.run_id]
  if (run === undefined || box.state !== 'running') return []
  const who = `runner in ${box.id}`
  const voice = { w, run, box, who }
  const exit = (code: number, what: string): Moves => [
    { who, kind: 'step', what, next: putBox(w, { ...box, state: 'exited', code }) },
  ]
  switch (box.runner.at) {
    case 'begin':
      if (!box.line) return exit(RUNNER_EXIT.noJob, 'got no job line, and exits')
      if (box.term) return exit(RUNNER_EXIT.terminated, 'is told to go before it began')
      return say(voice, wordsOf(run, box), { at: 'check' }, { unlessEnding: true })
    case 'check':
      return checkTaken(voice, is(scope, 'one_container'))
    case 'work':
      return work(voice, scope)
    case 'tool':
      return say(voice, wordsOf(run, box), { at: 'work' })
    case 'last':
      return say(
        voice,
        wordsOf(run, box),
        { at: 'leaving' },
        is(scope, 'no_finish_over_a_cancel') ? { unlessEnding: true } : {},
      )
    case 'leaving':
      return exit(box.runner.code, 'exits')
  }
}
