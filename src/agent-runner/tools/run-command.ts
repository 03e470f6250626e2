import { type ChildProcess, spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { type FileHandle, open, readFile, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { CALL_MARKER } from './command-env.ts'
import { signalGroup, sweepCall } from './process-group.ts'

export type CommandSpec = {
  readonly command: string
  readonly cwd: string
  readonly env: Readonly<Record<string, string>>
  /** Where output goes while the command runs; of limited size, so not the workspace. */
  readonly directory: string
  readonly timeoutMs: number
  /** A command that writes more is killed. */
  readonly maxOutputBytes: number
  readonly signal: AbortSignal
  readonly onOutput: (bytes: Buffer) => void
  /** Hunt for processes that left the group, too. */
  readonly sweep: boolean
}

export type CommandEnd = {
  readonly how: 'exited' | 'timeout' | 'aborted' | 'too_large'
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  /** Both streams as they came, at most `maxOutputBytes`. */
  readonly output: Buffer
  /** The directory it ended in; absent when it was killed. */
  readonly cwd?: string
  /** Processes that it left running write on to this file. */
  readonly left?: { readonly group: number; readonly file: string }
}

/** Between two looks at the output. `yes` writes some 10 MB in this time. */
const POLL_MS = 25

/** From TERM to KILL. */
const KILL_AFTER_MS = 2_000

/** `eval`: a syntax error in the command must not keep the trap, by which the next command begins where this one ended, from being set. */
const SCRIPT = `trap 'pwd >&3 2>/dev/null' EXIT; eval "$1"`

type Exit = { readonly code: number | null; readonly signal: NodeJS.Signals | null }

/** `exit`, not `close`: a child in the background would hold that back for as long as it lives. */
const exitOf = (child: ChildProcess): Promise<Exit> => {
  const { promise, resolve, reject } = Promise.withResolvers<Exit>()
  child.once('exit', (code, signal) => resolve({ code, signal }))
  child.once('error', reject)
  return promise
}

const killGroup = async (group: number, exit: Promise<Exit>): Promise<void> => {
  signalGroup(group, 'SIGTERM')
  const late = Promise.withResolvers<void>()
  const timer = setTimeout(late.resolve, KILL_AFTER_MS)
  await Promise.race([exit, late.promise])
  clearTimeout(timer)
  signalGroup(group, 'SIGKILL')
}

/** Looks at the output until the command has ended or must end; hands what is new to `onOutput`. */
const watch = async (spec: CommandSpec, file: FileHandle, exit: Promise<Exit>): Promise<CommandEnd['how']> => {
  const deadline = Date.now() + spec.timeoutMs
  let seen = 0
  const look = async () => {
    const { size } = await file.stat()
    const length = Math.min(size, spec.maxOutputBytes) - seen
    if (length > 0) {
      const { bytesRead, buffer } = await file.read(Buffer.alloc(length), 0, length, seen)
      seen += bytesRead
      spec.onOutput(buffer.subarray(0, bytesRead))
    }
    return size
  }
  const ended = exit.then(() => 'exited' as const)
  for (;;) {
    const tick = Promise.withResolvers<'tick'>()
    const timer = setTimeout(() => tick.resolve('tick'), POLL_MS)
    const outcome = await Promise.race([ended, tick.promise])
    clearTimeout(timer)
    const size = await look()
    if (outcome === 'exited') return 'exited'
    if (spec.signal.aborted) return 'aborted'
    if (size > spec.maxOutputBytes) return 'too_large'
    if (Date.now() >= deadline) return 'timeout'
  }
}

const readOutput = async (file: FileHandle, maxBytes: number): Promise<Buffer> => {
  const { size } = await file.stat()
  const bytes = Buffer.alloc(Math.min(size, maxBytes))
  const { bytesRead } = await file.read(bytes, 0, bytes.length, 0)
  return bytes.subarray(0, bytesRead)
}

/** Files of one command: both output streams in order, and the directory it ended in. Files and not pipes, so that nobody waits for the last reader or dies of its end. */
const openFiles = async (directory: string, marker: string) => {
  const outputPath = join(directory, `${marker}.out`)
  const cwdPath = join(directory, `${marker}.cwd`)
  const output = await open(outputPath, 'a+', 0o600)
  const cwd = await open(cwdPath, 'a+', 0o600)
  const lastCwd = async () => (await readFile(cwdPath, 'utf8')).replace(/\n$/, '')
  const close = async (keepOutput: boolean) => {
    await output.close()
    await cwd.close()
    await unlink(cwdPath)
    if (!keepOutput) await unlink(outputPath)
  }
  return { output, outputPath, cwd, lastCwd, close }
}

/** Runs a command in a process group of its own. Rejects when it cannot be started. */
export const runCommand = async (spec: CommandSpec): Promise<CommandEnd> => {
  const marker = randomUUID()
  const files = await openFiles(spec.directory, marker)
  let left: CommandEnd['left']
  try {
    const child = spawn('/bin/bash', ['-c', SCRIPT, 'bash', spec.command], {
      cwd: spec.cwd,
      // By its name, which may be a link: /workspace is one.
      env: { ...spec.env, PWD: spec.cwd, [CALL_MARKER]: marker },
      detached: true,
      stdio: ['ignore', files.output.fd, files.output.fd, files.cwd.fd],
    })
    const exit = exitOf(child)
    const group = child.pid
    const how = await watch(spec, files.output, exit)
    if (group !== undefined && how !== 'exited') {
      await killGroup(group, exit)
      if (spec.sweep) await sweepCall(marker)
    }
    const { code, signal } = await exit
    if (group !== undefined && how === 'exited' && signalGroup(group, 0)) left = { group, file: files.outputPath }
    const cwd = await files.lastCwd()
    return {
      how,
      code,
      signal,
      output: await readOutput(files.output, spec.maxOutputBytes),
      ...(cwd === '' || how !== 'exited' ? {} : { cwd }),
      ...(left === undefined ? {} : { left }),
    }
  } finally {
    await files.close(left !== undefined)
  }
}
