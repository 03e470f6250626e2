import { type ChildProcess, fork } from 'node:child_process'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { SandboxEngine } from '#scheduler/engines/engine.ts'
import type { RunnerSide } from '../../tests/fakes/scripted-box.ts'
import { createScriptedEngine } from '../../tests/fakes/scripted-engine.ts'
import { startFailure } from '../../tests/fakes/scripted-world.ts'
import type { AgentEnd } from './agent.ts'
import type { FromAgents, ToAgents } from './agents.ts'
import { type FateOptions, fateOf } from './fates.ts'
import type { Notes } from './marks.ts'

/** The process in which the containers of this engine live. */
type Agents = { run(self: RunnerSide): Promise<AgentEnd>; readonly pid: number } & Disposable

const openAgents = (): Agents => {
  const child: ChildProcess = fork(join(import.meta.dirname, 'agents.ts'), {
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  })
  const ends = new Map<string, (end: AgentEnd) => void>()
  child.on('message', ({ id, end }: FromAgents) => {
    ends.get(id)?.(end)
    ends.delete(id)
  })
  const tell = (message: ToAgents) => void (child.connected && child.send(message))
  return {
    pid: child.pid ?? 0,
    run({ containerId: id, jobLine: line, term, killed }) {
      const { promise, resolve } = Promise.withResolvers<AgentEnd>()
      ends.set(id, resolve)
      tell({ do: 'start', id, line })
      term.addEventListener('abort', () => tell({ do: 'term', id }), { once: true })
      killed.addEventListener(
        'abort',
        () => {
          // Also when it ended by itself: then nobody waits any more.
          if (ends.delete(id)) tell({ do: 'kill', id })
        },
        { once: true },
      )
      return promise
    },
    [Symbol.dispose]: () => void child.kill('SIGKILL'),
  }
}

export type SimulatedEngine = SandboxEngine & { readonly agentsPid: number } & Disposable

/**
 * The scripted engine of the tests (tests/fakes, held to the conformance suite) with times and failures drawn from a seed. Its
 * containers are agents in another process. Each worker has an engine of its own, as on Docker hosts of their own.
 */
export const openSimulatedEngine = (engineId: string, options: FateOptions, notes: Notes): SimulatedEngine => {
  const agents = openAgents()
  const fate = (sessionId: string) => fateOf(options, sessionId)
  const engine = createScriptedEngine({
    engineId,
    // Agents see the sockets of this machine as they are.
    sharesPaths: true,
    remembers: false,
    async beforeStart({ session_id, run_id }, signal) {
      const { kind, startMs } = fate(session_id)
      notes.means(run_id, 'startMs', startMs)
      await sleep(startMs, undefined, { signal })
      if (kind === 'start_fails') throw startFailure('start_failed', 'simulated: the container could not be started')
    },
    async runner(self) {
      self.print(`agent started: session ${self.spec.session_id}\n`)
      const end = await agents.run(self)
      notes.note(self.spec.run_id, 'exited')
      if (end !== 'lost') return end
      // Nobody hears of its exit.
      engine.lose(self.spec.run_id, { alive: true })
      return new Promise(() => {})
    },
  })
  return {
    ...engine,
    agentsPid: agents.pid,
    async start(spec, jobLine, signal) {
      notes.note(spec.run_id, 'asked')
      try {
        return await engine.start(spec, jobLine, signal)
      } finally {
        notes.note(spec.run_id, 'started')
      }
    },
    logs(ref, signal) {
      notes.note(ref.run_id, 'opened')
      return engine.logs(ref, signal)
    },
    async remove(ref, containerId) {
      if ((await engine.find(ref)) !== undefined) {
        const { removeMs } = fate(ref.session_id)
        notes.means(ref.run_id, 'removeMs', removeMs)
        await sleep(removeMs)
      }
      await engine.remove(ref, containerId)
    },
    [Symbol.dispose]: () => agents[Symbol.dispose](),
  }
}
