import { constants } from 'node:fs'
import { access, mkdir, realpath } from 'node:fs/promises'
import { hostname } from 'node:os'
import { isAbsolute } from 'node:path'
import type { Logger } from 'pino'
import { createSemaphore } from '../semaphore.ts'
import { EngineError, type SandboxEngine, type SandboxInfo, type SandboxRef } from './engine.ts'
import { endProcesses } from './process-end.ts'
import { startProcess } from './process-start.ts'
import { type Box, listBoxes, removeBox, stateOf, sweep } from './process-state.ts'
import { bootId } from './process-table.ts'
import { processLogs, waitForProcess } from './process-watch.ts'

export type ProcessEngineOptions = {
  /** Where what is running is written down; of one worker process at a time, and not in a workspace. */
  readonly stateDir: string
  /** How to start the runner: program and arguments, absolute paths. */
  readonly command: readonly string[]
  /** Then `check` and `start` refuse. */
  readonly production: boolean
  readonly log: Pick<Logger, 'warn'>
}

const WARNING =
  'THE PROCESS ENGINE ISOLATES NOTHING: agents run as plain processes of this user, with its files, its network and no ' +
  'limits. Use it for trying mgx out with prompts you trust; install Docker for anything else.'

const refused = (): EngineError =>
  new EngineError(
    'engine_unavailable',
    'the process engine isolates nothing and is refused when NODE_ENV=production',
    'Install Docker and let this user use it, or unset NODE_ENV on a machine that is yours alone.',
  )

const checkMachine = async ({ stateDir, command }: ProcessEngineOptions): Promise<void> => {
  await bootId().catch((cause: unknown) => {
    const remedy = 'Use Docker on this machine.'
    throw new EngineError('engine_unavailable', 'the process engine needs /proc, as Linux has it', remedy, { cause })
  })
  try {
    await mkdir(stateDir, { recursive: true, mode: 0o700 })
    await access(stateDir, constants.W_OK)
  } catch (cause) {
    const remedy = 'Let this user write there, or choose another directory.'
    throw new EngineError('engine_unavailable', `cannot write to ${stateDir}: ${cause}`, remedy, { cause })
  }
  const [program = ''] = command
  if (!isAbsolute(program)) {
    const message = `the runner's program must be an absolute path, not "${program}"`
    throw new EngineError('engine_unavailable', message, 'Give its whole path.')
  }
}

const infoOf = async (box: Box): Promise<SandboxInfo> => {
  const { kind } = await stateOf(box)
  return {
    containerId: box.containerId,
    session_id: box.session_id,
    run_id: box.run_id,
    workspace_id: box.workspace_id,
    running: kind === 'running',
    started: kind !== 'unstarted',
    createdAt: new Date(box.createdAt),
  }
}

/**
 * Runners as plain children of this machine, for where there is no Docker. Each has a small detached parent that writes its
 * output and exit code to files, so that a restarted worker adopts it. `spec.user`, `limits`, `network` and mounts mean
 * nothing here; WORKSPACE_DIR tells the runner where the workspace is.
 */
export const createProcessEngine = (options: ProcessEngineOptions): SandboxEngine => {
  const { stateDir, command, production, log } = options
  const turn = createSemaphore(1)
  const boxesOf = async (ref: SandboxRef): Promise<Box[]> =>
    (await listBoxes(stateDir)).filter((box) => box.session_id === ref.session_id && box.run_id === ref.run_id)

  return {
    name: 'process',
    sharesPaths: true,
    async engineId() {
      await mkdir(stateDir, { recursive: true, mode: 0o700 })
      return `process:${hostname()}:${await realpath(stateDir)}`
    },
    async check() {
      if (production) throw refused()
      await checkMachine(options)
      await sweep(stateDir)
      log.warn(WARNING)
    },
    async start(spec, jobLine, signal) {
      if (production) throw refused()
      signal.throwIfAborted()
      return startProcess({ stateDir, command, spec, jobLine, signal }, turn)
    },
    async find(ref) {
      const [box] = await boxesOf(ref)
      return box && infoOf(box)
    },
    async *logs(ref, signal) {
      const [box] = await boxesOf(ref)
      if (box) yield* processLogs(box, signal)
    },
    async wait(ref, signal) {
      signal.throwIfAborted()
      const [box] = await boxesOf(ref)
      return waitForProcess(box, signal)
    },
    async stop(ref, graceMs) {
      for (const box of await boxesOf(ref)) await endProcesses(box, graceMs)
    },
    async remove(ref, containerId) {
      for (const box of await boxesOf(ref)) {
        if (containerId !== undefined && box.containerId !== containerId) continue
        await endProcesses(box, 0)
        await removeBox(box, stateDir)
      }
    },
    async attest(ref) {
      const [box] = await boxesOf(ref)
      if (!box || (await stateOf(box)).kind !== 'running') return undefined
      return { kind: 'nothing', containerId: box.containerId }
    },
    list: async () => Promise.all((await listBoxes(stateDir)).map(infoOf)),
  }
}
