import { type ChildProcess, spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { pino } from 'pino'
import type { EventType, SessionEvent, SessionEventOf } from '#contracts/events.ts'
import { DEFAULT_TENANT, newRunId } from '#contracts/ids.ts'
import type { RunnerJob } from '#contracts/job.ts'
import type { Run } from '#contracts/run.ts'
import { PUBLIC_EGRESS } from '#scheduler/egress-guard.ts'
import { type Gateway, openGateway } from '#scheduler/gateway.ts'
import { newToken, tokenHash } from '#scheduler/run-token.ts'
import { announceRun } from '#store/announce.ts'
import type { EventLog } from '#store/event-log.ts'
import { openSqliteStore } from '#store/sqlite.ts'
import { tempDir } from '../helpers.ts'
import { openScriptedModel, type Reply, type ScriptedModel } from './scripted-model.ts'

const RUNNER = join(import.meta.dirname, '../../src/main/runner.ts')

export const UPSTREAM_KEY = 'sk-upstream-key-of-the-tests'

const quiet = pino({ level: 'silent' })

export type Exit = { readonly code: number | null; readonly signal: NodeJS.Signals | null }

export type RunnerProcess = {
  readonly child: ChildProcess
  readonly exited: Promise<Exit>
  stdout(): string
  stderr(): string
}

export type Started = {
  readonly input?: string
  readonly env?: Readonly<Record<string, string>>
  /** The bundle instead of the source. */
  readonly program?: string
}

/** The real runner as a process of its own; killed with the test if it still runs. */
export const startRunner = (
  t: Pick<TestContext, 'after'>,
  workspace: string,
  { input, env = {}, program = RUNNER }: Started,
): RunnerProcess => {
  const child = spawn(process.execPath, [program], {
    env: { PATH: process.env.PATH ?? '', HOME: workspace, WORKSPACE_DIR: workspace, ...env },
    stdio: ['pipe', 'pipe', 'pipe'],
  })
  const texts = { stdout: '', stderr: '' }
  for (const name of ['stdout', 'stderr'] as const)
    child[name].setEncoding('utf8').on('data', (text: string) => {
      texts[name] += text
    })
  const exited = new Promise<Exit>((resolve) => child.once('close', (code, signal) => resolve({ code, signal })))
  child.stdin.on('error', () => undefined)
  if (input !== undefined) child.stdin.end(input)
  t.after(async () => {
    child.kill('SIGKILL')
    await exited
  })
  return { child, exited, stdout: () => texts.stdout, stderr: () => texts.stderr }
}

export type World = {
  readonly workspace: string
  readonly socket: string
  readonly events: EventLog
  readonly model: ScriptedModel
  readonly run: Run
  readonly token: string
  job(changes?: Partial<RunnerJob>): RunnerJob
  /** Starts the runner with the job on its standard input. */
  start(changes?: Partial<RunnerJob>): RunnerProcess
  log(): Promise<SessionEvent[]>
  of<T extends EventType>(type: T): Promise<SessionEventOf<T>[]>
  /** A worker that comes and goes: serves the run at its socket until disposed. */
  serve(): Promise<AsyncDisposable>
}

export type WorldOptions = {
  readonly replies?: readonly Reply[]
  readonly prompt?: string
  /** Nobody listens at the socket at first. */
  readonly unserved?: boolean
  /** A session of an earlier world that goes on. */
  readonly upstream?: string
}

const newRun = (dir: string, token: string, prompt: string): Run => ({
  run_id: newRunId(),
  tenant_id: DEFAULT_TENANT,
  session_id: `s-${dir.slice(-6)}`,
  workspace_id: 'w-1',
  framework: 'static',
  prompt,
  options: {},
  v: 1,
  state: 'running',
  attempt: 1,
  lock: true,
  created_at: new Date(),
  queue_deadline_at: new Date(Date.now() + 60_000),
  turn_at: new Date(Date.now() + 60_000),
  container_gone: false,
  restarts: 0,
  token_hash: tokenHash(token),
})

/** Opens a gateway and serves one run with it; disposing is a worker that goes away. */
export const serveRun = async (
  events: EventLog,
  upstream: string,
  run: Run,
  socket: string,
): Promise<AsyncDisposable> => {
  await using stack = new AsyncDisposableStack()
  const gateway: Gateway = stack.use(
    await openGateway({
      events,
      upstream: { baseUrl: upstream, apiKey: UPSTREAM_KEY },
      egress: PUBLIC_EGRESS,
      log: quiet,
    }),
  )
  stack.use(await gateway.serve(run, socket))
  return stack.move()
}

/** Everything around one run but the worker: a real event log, a real gateway on a socket, a scripted model, a workspace. */
export const openWorld = async (t: Pick<TestContext, 'after'>, options: WorldOptions = {}): Promise<World> => {
  const stack = new AsyncDisposableStack()
  t.after(() => stack.disposeAsync())
  const dir = await tempDir(t)
  const workspace = join(dir, 'workspace')
  await mkdir(workspace)
  const socket = join(dir, 'gw.sock')
  const { events } = stack.use(await openSqliteStore({ file: join(dir, 'store.db') }))
  const model = stack.use(await openScriptedModel(options.replies ?? []))
  const token = newToken()
  const run = newRun(dir, token, options.prompt ?? 'do it')
  await announceRun(events, run)
  const serve = () => serveRun(events, options.upstream ?? model.baseUrl, run, socket)
  if (options.unserved !== true) stack.use(await serve())
  const log = () => events.list(run.session_id, { after: 0, limit: 100_000 })
  const job = (changes: Partial<RunnerJob> = {}): RunnerJob => ({
    v: 1,
    tenant_id: run.tenant_id,
    session_id: run.session_id,
    run_id: run.run_id,
    workspace_id: run.workspace_id,
    framework: run.framework,
    prompt: run.prompt,
    model: 'scripted',
    max_steps: 20,
    deadline: new Date(Date.now() + 60_000).toISOString(),
    container_id: `c-${randomUUID()}`,
    channel: { kind: 'gateway', url: `unix:${socket}`, token },
    ...changes,
  })
  return {
    workspace,
    socket,
    events,
    model,
    run,
    token,
    job,
    start: (changes) => startRunner(t, workspace, { input: `${JSON.stringify(job(changes))}\n` }),
    log,
    of: async <T extends EventType>(type: T) =>
      (await log()).filter((event) => event.event_type === type) as unknown as SessionEventOf<T>[],
    serve,
  }
}

/** What must hold of every log whatever happened; throws on the first thing that does not. */
export const checkLog = (log: readonly SessionEvent[], { finished = true } = {}): void => {
  const fail = (what: string) => {
    throw new Error(`${what}\n${log.map((event) => `${event.seq} ${event.event_type} ${event._id}`).join('\n')}`)
  }
  const openTools = new Set<string>()
  const pieces = new Map<string, { index: number; text: string; reasoning: string }>()
  const completed = new Set<string>()
  for (const [i, event] of log.entries()) {
    if (event.seq !== i + 1) fail(`seq ${event.seq} at place ${i + 1}`)
    if (event.event_type === 'message_delta') {
      const { message_id, index, kind, delta } = event.data
      const seen = pieces.get(message_id) ?? { index: -1, text: '', reasoning: '' }
      if (index !== seen.index + 1) fail(`delta ${index} of ${message_id} behind ${seen.index}`)
      if (completed.has(message_id)) fail(`a delta behind its message ${message_id}`)
      pieces.set(message_id, { ...seen, index, [kind]: seen[kind] + delta })
    } else if (event.event_type === 'message_complete') {
      const { message_id, content, reasoning, deltas } = event.data
      const seen = pieces.get(message_id) ?? { index: -1, text: '', reasoning: '' }
      if (seen.text !== content) fail(`the deltas of ${message_id} do not amount to its content`)
      if (seen.reasoning !== (reasoning ?? '')) fail(`the deltas of ${message_id} do not amount to its reasoning`)
      if (deltas !== seen.index + 1) fail(`${message_id} says ${deltas} deltas`)
      completed.add(message_id)
    } else if (event.event_type === 'tool_start') {
      if (!completed.has(event.data.message_id)) fail('a tool starts before its message is complete')
      openTools.add(event.data.tool_call_id)
    } else if (event.event_type === 'tool_end' && !openTools.delete(event.data.tool_call_id))
      fail('an end without start')
  }
  if (openTools.size > 0) fail('a tool is open at the end')
  for (const id of pieces.keys()) if (!completed.has(id)) fail(`the message ${id} is open at the end`)
  const finishes = log.filter((event) => event.event_type === 'finish').length
  if (finishes !== (finished ? 1 : 0)) fail(`${finishes} finish events`)
  if (finished && log.at(-1)?.event_type !== 'finish') fail('something behind finish')
}
