import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { createInterface } from 'node:readline'
import type { Readable, Writable } from 'node:stream'
import { finished } from 'node:stream/promises'
import { pause } from '../patience.ts'
import type { Semaphore } from '../semaphore.ts'
import { EngineError, type SandboxSpec, type StartResult } from './engine.ts'
import { endProcesses } from './process-end.ts'
import { type Box, FILES, listBoxes, makeBox, removeBox, stateOf } from './process-state.ts'

const POLL_MS = 100

/** As with Docker: created and not started for this long, its creator died between the two. */
const UNSTARTED_MS = 5_000

/** From the supervisor's start to its word; Node alone takes 50 ms, much longer on a busy machine. */
const SUPERVISOR_MS = 60_000
const LINE_MS = 15_000

const SUPERVISOR = join(import.meta.dirname, 'process-supervisor.ts')
const SYSTEM_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'

export type ProcessStart = {
  readonly stateDir: string
  /** How the runner is started: absolute paths. */
  readonly command: readonly string[]
  readonly spec: SandboxSpec
  readonly jobLine: (containerId: string) => string
  readonly signal: AbortSignal
}

/** Never this process's own environment: it holds keys. */
export const runnerEnv = (spec: SandboxSpec, dir: string): Record<string, string> => ({
  LANG: 'C.UTF-8',
  ...spec.env,
  PATH: `${dirname(process.execPath)}:${SYSTEM_PATH}`,
  HOME: join(dir, FILES.home),
  TMPDIR: join(dir, FILES.tmp),
  WORKSPACE_DIR: spec.workspace.path,
})

const own = (box: Box, spec: SandboxSpec): boolean => box.session_id === spec.session_id && box.run_id === spec.run_id

const inTheWay = (box: Box, spec: SandboxSpec): boolean =>
  box.run_id !== spec.run_id && (box.session_id === spec.session_id || box.workspace_id === spec.workspace_id)

type Place = { readonly adopted: boolean; readonly box: Box }

/** Looks and takes the place in one go; `undefined`: not yet. */
const tryPlace = async ({ stateDir, spec }: ProcessStart): Promise<Place | undefined> => {
  const boxes = await listBoxes(stateDir)
  const mine = boxes.find((box) => own(box, spec))
  if (!mine) {
    return boxes.some((box) => inTheWay(box, spec)) ? undefined : { adopted: false, box: await makeBox(stateDir, spec) }
  }
  const { kind } = await stateOf(mine)
  if (kind !== 'unstarted') return { adopted: true, box: mine }
  if (Date.now() - Date.parse(mine.createdAt) > UNSTARTED_MS) await removeBox(mine, stateDir)
  return undefined
}

const takePlace = async (request: ProcessStart, turn: Semaphore): Promise<Place> => {
  for (;;) {
    {
      using _turn = await turn.acquire(request.signal)
      const place = await tryPlace(request)
      if (place) return place
    }
    await pause(POLL_MS, request.signal)
  }
}

/** The supervisor's one line: nothing when the runner lives, else why it does not. */
const answerOf = async (supervisor: ChildProcess, stdout: Readable): Promise<string | undefined> => {
  const lines = createInterface({ input: stdout })
  try {
    const line = once(lines, 'line', { signal: AbortSignal.timeout(SUPERVISOR_MS) }) as Promise<[string]>
    const gone = once(supervisor, 'close').then(() => undefined)
    const first = await Promise.race([line, gone])
    return first ? (JSON.parse(first[0]) as { error?: string }).error : 'the supervisor ended without a word'
  } finally {
    lines.close()
  }
}

const deliver = async (stdin: Writable, line: string, signal: AbortSignal): Promise<void> => {
  // A runner that ends before it has read its line breaks the pipe: its exit code tells.
  stdin.on('error', () => {})
  stdin.end(line)
  await finished(stdin, { readable: false, signal: AbortSignal.any([signal, AbortSignal.timeout(LINE_MS)]) }).catch(
    () => {},
  )
  signal.throwIfAborted()
}

const launch = async (box: Box, { command, spec, jobLine, signal }: ProcessStart): Promise<void> => {
  signal.throwIfAborted()
  const supervisor = spawn(process.execPath, [SUPERVISOR, box.dir, ...command], {
    cwd: spec.workspace.path,
    env: runnerEnv(spec, box.dir),
    detached: true,
    stdio: ['pipe', 'pipe', 'ignore'],
  })
  supervisor.on('error', () => {})
  supervisor.unref()
  const refused = await answerOf(supervisor, supervisor.stdout)
  if (refused !== undefined) throw new Error(refused)
  await deliver(supervisor.stdin, jobLine(box.containerId), signal)
}

const checkWorkspace = async ({ workspace }: SandboxSpec): Promise<void> => {
  const found = await stat(workspace.path).catch(() => undefined)
  if (!found?.isDirectory()) {
    const message = `the workspace ${workspace.path} is not a directory on this machine`
    throw new EngineError('workspace_unavailable', message, 'Create it, or set WORKSPACES_ROOT.')
  }
}

const startError = (error: unknown, command: readonly string[]): EngineError => {
  if (error instanceof EngineError) return error
  const message = `the runner could not be started: ${error instanceof Error ? error.message : error}`
  return new EngineError('start_failed', message, `Try it by hand: ${command.join(' ')}`, { cause: error })
}

/** Places and launches; when that fails, what was made is gone again. */
const open = async (request: ProcessStart, turn: Semaphore): Promise<StartResult> => {
  const { adopted, box } = await takePlace(request, turn)
  if (adopted) return { containerId: box.containerId, adopted }
  try {
    await launch(box, request)
    return { containerId: box.containerId, adopted }
  } catch (error) {
    await endProcesses(box, 0)
    await removeBox(box, request.stateDir)
    throw error
  }
}

/** `SandboxEngine.start`. `turn` has one place: looking and taking must not be interleaved. */
export const startProcess = async (request: ProcessStart, turn: Semaphore): Promise<StartResult> => {
  try {
    await mkdir(request.stateDir, { recursive: true, mode: 0o700 })
    await checkWorkspace(request.spec)
    return await open(request, turn)
  } catch (error) {
    request.signal.throwIfAborted()
    throw startError(error, request.command)
  }
}
