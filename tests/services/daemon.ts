import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process'
import { closeSync, existsSync, openSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { sleep, waitFor } from '../helpers.ts'

/** What a machine without this service answers: one line that says why, for the test's skip. */
export type Skip = { readonly skip: string }

/** A server process of a test's own, with its data directory. */
export type Daemon = AsyncDisposable & {
  readonly pid: number
  readonly dir: string
  /** Resolves when the process is gone. Repeatable. */
  kill(signal?: NodeJS.Signals): Promise<void>
  /** SIGSTOP: connections stay open and nothing answers. Resolves when it has stopped. */
  pause(): Promise<void>
  resume(): void
  /** Ends it if it runs (SIGTERM) and starts it again: same port, same data. Resolves when it is ready. */
  restart(): Promise<void>
}

export type DaemonOptions = {
  readonly name: string
  readonly command: string
  /** Told the directory; called once. */
  readonly args: (dir: string) => readonly string[]
  /** The whole environment of the process; default: this one's. */
  readonly env?: Readonly<Record<string, string>>
  /** Rejects or gives false while the server is not ready yet. */
  readonly ready: () => Promise<boolean>
}

const READY_MS = 30_000

// The kernel ends the server when its test process dies by SIGKILL, where no exit hook runs. The command stays the same process.
const SETPRIV = ['/usr/bin/setpriv', '/bin/setpriv'].find((path) => existsSync(path))

const spawnServer = ({ command, env }: DaemonOptions, args: readonly string[], dir: string): ChildProcess => {
  const log = openSync(join(dir, 'server.log'), 'a')
  const options: SpawnOptions = { stdio: ['ignore', log, log], cwd: dir, ...(env && { env }) }
  try {
    return SETPRIV === undefined
      ? spawn(command, args, options)
      : spawn(SETPRIV, ['--pdeathsig', 'KILL', command, ...args], options)
  } finally {
    closeSync(log)
  }
}

const isOver = (child: ChildProcess) => child.exitCode !== null || child.signalCode !== null

const untilOver = (child: ChildProcess) =>
  new Promise<void>((resolve) => {
    if (isOver(child)) resolve()
    else child.once('exit', () => resolve())
  })

// One letter per thread behind "pid (name) "; T = stopped. Elsewhere than on Linux the signal is taken to be obeyed.
const isStopped = (pid: number) => {
  const tasks = `/proc/${pid}/task`
  if (!existsSync(tasks)) return true
  return readdirSync(tasks).every((id) => /\) T/.test(readFileSync(join(tasks, id, 'stat'), 'utf8')))
}

const untilReady = async ({ name, ready }: DaemonOptions, child: ChildProcess, dir: string): Promise<void> => {
  const deadline = Date.now() + READY_MS
  for (;;) {
    if (isOver(child)) {
      const log = readFileSync(join(dir, 'server.log'), 'utf8').slice(-2000)
      throw new Error(`${name} ended while it started (${child.exitCode ?? child.signalCode}):\n${log}`)
    }
    if (await ready().catch(() => false)) return
    if (Date.now() > deadline) throw new Error(`${name} was not ready within ${READY_MS} ms`)
    await sleep(20)
  }
}

/** Starts a server in a directory of its own and waits until it is ready. It never outlives this process. */
export const startDaemon = async (options: DaemonOptions): Promise<Daemon> => {
  const dir = await mkdtemp(join(tmpdir(), `mgx-${options.name}-`))
  const args = options.args(dir)
  let child = spawnServer(options, args, dir)
  const onExit = () => {
    child.kill('SIGKILL')
    rmSync(dir, { recursive: true, force: true })
  }
  process.on('exit', onExit)
  const kill = async (signal: NodeJS.Signals = 'SIGKILL') => {
    if (!isOver(child)) child.kill(signal)
    await untilOver(child)
  }
  const dispose = async () => {
    await kill()
    process.off('exit', onExit)
    await rm(dir, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 })
  }
  try {
    await untilReady(options, child, dir)
  } catch (error) {
    await dispose()
    throw error
  }
  return {
    get pid() {
      return child.pid ?? 0
    },
    dir,
    kill,
    async pause() {
      child.kill('SIGSTOP')
      await waitFor(() => isStopped(child.pid ?? 0), { what: `${options.name} to stop` })
    },
    resume: () => void child.kill('SIGCONT'),
    async restart() {
      child.kill('SIGCONT')
      await kill('SIGTERM')
      child = spawnServer(options, args, dir)
      await untilReady(options, child, dir)
    },
    [Symbol.asyncDispose]: dispose,
  }
}
