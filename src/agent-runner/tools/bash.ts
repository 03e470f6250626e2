import { mkdir, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as z from 'zod'
import { headTailChars } from '../text-size.ts'
import { hashOf } from './files.ts'
import { findPath } from './paths.ts'
import { signalGroup } from './process-group.ts'
import { type CommandEnd, type CommandSpec, runCommand } from './run-command.ts'
import { type AgentTool, errorText, failure, type ToolContext, type ToolResult } from './tool.ts'

const DEFAULT_TIMEOUT_S = 120
const MAX_TIMEOUT_S = 600
/** Characters of output that the model is given. */
const MAX_SHOWN_CHARS = 30_000
const MAX_OUTPUT_BYTES = 16 * 1024 * 1024
/** A longer argument does not fit the call of a program (MAX_ARG_STRLEN, 128 KiB). */
const MAX_COMMAND_CHARS = 30_000

const Input = z.object({
  command: z.string().min(1).max(MAX_COMMAND_CHARS).describe('what bash shall run'),
  timeout_s: z
    .int()
    .min(1)
    .max(MAX_TIMEOUT_S)
    .optional()
    .describe(`seconds until it is stopped, ${DEFAULT_TIMEOUT_S} unless given`),
  cwd: z.string().optional().describe('directory of the workspace to run it in; else where the last command ended'),
  description: z.string().max(200).optional().describe('what it does, in a few words'),
})
type Input = z.infer<typeof Input>

/** What commands find in their environment to reach the outside, and what of it was refused since this was asked last. */
export type CommandEgress = {
  env(): Promise<Readonly<Record<string, string>>>
  refused(): readonly string[]
}

export type BashDeps = {
  readonly workspace: string
  readonly env: Readonly<Record<string, string>>
  /** The way out for commands: opened before the first one. */
  readonly egress?: CommandEgress
  /** In a container everything that runs belongs to this run, so that what left its group may be hunted. */
  readonly inContainer: boolean
  /** Why commands must not run here, or `undefined`. Asked before the first one. */
  readonly refusal: () => Promise<string | undefined>
  /** Keeps secrets out of what is written to a file. */
  readonly clean: (text: string) => string
}

/** Where whole outputs lie in the workspace; git ignores it. */
const OUTPUTS = '.mgx/outputs'

const keepOutput = async (workspace: string, callId: string, text: string): Promise<ToolResult['outputRef']> => {
  const directory = join(workspace, OUTPUTS)
  try {
    await mkdir(directory, { recursive: true })
    await writeFile(join(workspace, '.mgx/.gitignore'), '*\n')
    const path = `${OUTPUTS}/${callId}.log`
    await writeFile(join(workspace, path), text)
    return { path, sha256: hashOf(text) }
  } catch {
    // A full or read-only workspace: the part that the model is shown must do.
    return undefined
  }
}

const howItEnded = (end: CommandEnd, timeoutS: number): string => {
  if (end.how === 'timeout') return `stopped after ${timeoutS} s`
  if (end.how === 'aborted') return 'stopped: the run is being ended'
  if (end.how === 'too_large') return `stopped: it wrote more than ${MAX_OUTPUT_BYTES} bytes`
  if (end.signal !== null)
    return `ended by ${end.signal}${end.signal === 'SIGKILL' ? ' (perhaps it took too much memory)' : ''}`
  return `exit code ${end.code}`
}

const statusOf = (end: CommandEnd): ToolResult['status'] => {
  if (end.how === 'timeout' || end.how === 'aborted') return end.how
  return end.how === 'exited' && end.code === 0 ? 'ok' : 'error'
}

const report = async (deps: BashDeps, end: CommandEnd, callId: string, seconds: number, timeoutS: number) => {
  const text = deps.clean(end.output.toString())
  const shown = headTailChars(text, MAX_SHOWN_CHARS)
  const outputRef = shown === text ? undefined : await keepOutput(deps.workspace, callId, text)
  const notes = [
    howItEnded(end, timeoutS),
    `${seconds.toFixed(1)} s`,
    ...(outputRef === undefined ? [] : [`whole output: ${outputRef.path}`]),
    ...(end.left === undefined ? [] : [`it left processes running, which write to ${end.left.file}`]),
    ...(deps.egress?.refused() ?? []),
  ]
  const status = statusOf(end)
  const result: ToolResult = {
    status,
    output: `${shown}${shown === '' || shown.endsWith('\n') ? '' : '\n'}(${notes.join('; ')})`,
    outputBytes: end.output.length,
    ...(outputRef === undefined ? {} : { outputRef }),
    ...(end.code === null ? {} : { exitCode: end.code }),
    ...(end.signal === null ? {} : { signal: end.signal }),
    ...(status === 'ok'
      ? {}
      : { errorCode: end.how === 'exited' ? 'exit_code' : end.how, errorMessage: howItEnded(end, timeoutS) }),
  }
  return result
}

const isDirectory = (path: string): Promise<boolean> =>
  stat(path).then(
    (entry) => entry.isDirectory(),
    () => false,
  )

/** Where a command shall run: where it asks for, else where the last one ended, else (that directory is gone) at the top. */
const placeOf = async (workspace: string, wanted: string | undefined, last: string) => {
  if (wanted === undefined) return (await isDirectory(last)) ? last : workspace
  const found = await findPath(workspace, wanted)
  if ('refused' in found) return found
  return (await isDirectory(found.real)) ? found.real : { refused: `${wanted} is not a directory` }
}

const createShell = (deps: BashDeps) => {
  const directory = join(tmpdir(), `mgx-${process.pid}-${hashOf(String(Math.random())).slice(0, 8)}`)
  const left = new Set<number>()
  let cwd = deps.workspace
  let refusal: Promise<string | undefined> | undefined

  const start = async (spec: Omit<CommandSpec, 'directory'>): Promise<CommandEnd> => {
    await mkdir(directory, { recursive: true, mode: 0o700 })
    const end = await runCommand({ ...spec, directory })
    if (end.left !== undefined) left.add(end.left.group)
    if (end.cwd !== undefined) cwd = end.cwd
    return end
  }

  const run = async (input: Input, context: ToolContext): Promise<ToolResult> => {
    refusal ??= deps.refusal()
    const refused = await refusal
    if (refused !== undefined) return { status: 'denied', output: refused, errorCode: 'denied' }
    const place = await placeOf(deps.workspace, input.cwd, cwd)
    if (typeof place !== 'string') return failure('path_refused', place.refused)
    const timeoutS = input.timeout_s ?? DEFAULT_TIMEOUT_S
    const decoder = new TextDecoder()
    const began = Date.now()
    try {
      const end = await start({
        command: input.command,
        cwd: place,
        env: { ...deps.env, ...(await deps.egress?.env()) },
        timeoutMs: timeoutS * 1000,
        maxOutputBytes: MAX_OUTPUT_BYTES,
        signal: context.signal,
        onOutput: (bytes) => context.progress(decoder.decode(bytes, { stream: true })),
        sweep: deps.inContainer,
      })
      return await report(deps, end, context.callId, (Date.now() - began) / 1000, timeoutS)
    } catch (error) {
      return failure('cannot_start', `the command could not be started: ${errorText(error)}`)
    }
  }

  const close = async () => {
    for (const group of left) signalGroup(group, 'SIGKILL')
    await rm(directory, { recursive: true, force: true })
  }
  return { run, close }
}

export const createBashTool = (deps: BashDeps): AgentTool<Input> & { close(): Promise<void> } => {
  const shell = createShell(deps)
  return {
    description: `Runs a bash command and answers with its output (both streams, the middle of a long one left out) and exit code. The directory is kept from one command to the next, variables are not. Nothing can be typed in. It is stopped after ${DEFAULT_TIMEOUT_S} s (timeout_s: up to ${MAX_TIMEOUT_S}); what shall go on, such as a server, is started with \`&\`.`,
    input: Input,
    kind: 'execute',
    risk: 'unknown',
    title: ({ command, description }) => description ?? `$ ${command.split('\n', 1)[0] ?? ''}`,
    run: shell.run,
    close: shell.close,
  }
}
