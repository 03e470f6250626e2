/**
 * The small detached parent of a runner that the process engine starts: `node process-supervisor.ts DIR COMMAND...`.
 * It outlives the worker, so that a restarted worker finds out how the runner ended. Standard input goes to the runner as it
 * is; one line on standard output says that the runner lives, or why not.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, openSync, renameSync, writeFileSync, writeSync } from 'node:fs'
import { constants } from 'node:os'
import { join } from 'node:path'
import { FILES, type Processes } from './process-state.ts'
import { bootId, identify, type ProcessId } from './process-table.ts'

const SIGNAL_BASE = 128

/** A reader sees the whole file or none. */
const writeWhole = (path: string, content: object): void => {
  writeFileSync(`${path}.part`, JSON.stringify(content))
  renameSync(`${path}.part`, path)
}

const say = (answer: { error?: string }): void => {
  try {
    writeSync(1, `${JSON.stringify(answer)}\n`)
  } catch {
    // The worker has died meanwhile: nobody waits for the answer.
  }
}

type Runner = { readonly child: ChildProcess; readonly id: ProcessId }

/** The runner in a session and group of its own, with its output in the file. */
const startRunner = async (dir: string, command: readonly string[]): Promise<Runner> => {
  const [program = '', ...args] = command
  const output = openSync(join(dir, FILES.output), 'a')
  const child = spawn(program, args, { detached: true, stdio: ['inherit', output, output] })
  const id = child.pid === undefined ? undefined : identify(child.pid)
  closeSync(output)
  // Without a process there is only an `error` to come, with the reason.
  if (!id) throw (await once(child, 'error'))[0]
  return { child, id }
}

const register = async (dir: string, runner: ProcessId): Promise<void> => {
  const processes: Processes = { boot: await bootId(), supervisor: identify(process.pid), runner }
  writeWhole(join(dir, FILES.processes), processes)
}

const killGroup = (pid: number): void => {
  try {
    process.kill(-pid, 'SIGKILL')
  } catch {
    // Nobody is left in it.
  }
}

const codeOf = (code: number | null, signal: NodeJS.Signals | null): number =>
  code ?? SIGNAL_BASE + (signal === null ? 0 : constants.signals[signal])

const supervise = async (dir: string, command: readonly string[]): Promise<void> => {
  // What is meant for the runner goes to the runner's own group; this process stays to write down the end.
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.on(signal, () => {})
  const { child, id } = await startRunner(dir, command)
  const ended = once(child, 'exit') as Promise<[number | null, NodeJS.Signals | null]>
  try {
    await register(dir, id)
  } catch (error) {
    killGroup(id.pid)
    throw error
  }
  // The reading end of the pipe stays with the runner alone, so that writing to a dead one fails.
  closeSync(0)
  say({})
  closeSync(1)
  const [code, signal] = await ended
  killGroup(id.pid)
  writeWhole(join(dir, FILES.exit), { code: codeOf(code, signal) })
}

if (import.meta.main) {
  const [dir = '', ...command] = process.argv.slice(2)
  try {
    await supervise(dir, command)
  } catch (error) {
    say({ error: String(error) })
    process.exitCode = 1
  }
}
