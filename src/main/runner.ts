import { hostname } from 'node:os'
import { parseJob, readJobLine } from '#agent-runner/job-line.ts'
import { runJob } from '#agent-runner/run.ts'
import type { ExitName } from '#agent-runner/runner-setup.ts'
import { urlSecrets } from '#agent-runner/secrets.ts'
import { createEventLogSink } from '#agent-runner/sinks/event-log.ts'
import type { EventSink } from '#agent-runner/sinks/event-sink.ts'
import { createGatewaySink } from '#agent-runner/sinks/gateway.ts'
import { commandEnv } from '#agent-runner/tools/command-env.ts'
import type { RunnerJob } from '#contracts/job.ts'
import type { RunImage } from '#contracts/run.ts'
import packageFile from '../../package.json' with { type: 'json' }

/**
 * The agent container's program. Told what to do by one JSON line on standard input (a worker), or by its environment when
 * PROMPT is set (by hand). What is heavy (the model SDK, zod, the MongoDB driver) is imported where it is first needed.
 */

/** A worker writes the line as soon as the container has started. */
const JOB_LINE_MS = 10_000

/** Nobody may be left to read what is said; the work goes on. Streams are opened when they are needed: that takes a while. */
const print = (stream: NodeJS.WriteStream, text: string) => {
  if (stream.listenerCount('error') === 0) stream.on('error', () => undefined)
  stream.write(text)
}
const say = (line: string) => print(process.stdout, `${line}\n`)
const complain = (line: string) => print(process.stderr, `mgx agent: ${line}\n`)

/** In an agent container this process is the first one's child, or the first one. */
const inContainer = process.pid === 1 || process.ppid === 1

const WORKSPACE = process.env.WORKSPACE_DIR ?? '/workspace'

const terminated = new AbortController()

/** What came in, and who else watches over the run. */
type Told = {
  readonly job: RunnerJob
  readonly rawJob: unknown
  readonly hasWorker: boolean
}

const fromStdin = async (warm: boolean): Promise<Told | ExitName> => {
  const limits = warm ? [] : [AbortSignal.timeout(JOB_LINE_MS)]
  try {
    const line = await readJobLine(process.stdin, AbortSignal.any([...limits, terminated.signal]))
    if (terminated.signal.aborted) return 'terminated'
    // Whoever started it ahead is gone, or has no use for it: nobody needs to be told.
    if (line === undefined && warm) return 'noJob'
    if (line === undefined) {
      complain(
        `no job: expected one JSON line on standard input within ${JOB_LINE_MS / 1000} s, or PROMPT in the environment`,
      )
      return 'noJob'
    }
    const job = await parseJob(line)
    if (!('wrong' in job)) return { job, rawJob: job, hasWorker: true }
    complain(`the job line is wrong: ${job.wrong}`)
  } catch (error) {
    complain(`the job line is wrong: ${(error as Error).message}`)
  }
  return 'badJob'
}

const fromEnvironment = async (): Promise<Told | ExitName> => {
  const { manualJob } = await import('#agent-runner/manual-job.ts')
  const made = manualJob(process.env, hostname())
  if ('job' in made) return { job: made.job, rawJob: made.job, hasWorker: false }
  for (const problem of made.problems) complain(problem)
  return 'badJob'
}

type OpenSink = { readonly sink: EventSink } & AsyncDisposable

const openSink = async ({ channel, session_id }: RunnerJob): Promise<OpenSink> => {
  if (channel.kind === 'gateway')
    return { sink: createGatewaySink(channel.url, channel.token), async [Symbol.asyncDispose]() {} }
  const { openMongoEventLog } = await import('#store/mongodb-event-log.ts')
  const events = await openMongoEventLog({ url: channel.mongodb_url, db: channel.mongodb_db })
  return { sink: createEventLogSink(events, session_id), [Symbol.asyncDispose]: () => events[Symbol.asyncDispose]() }
}

/** In the environment, not in the job line: an image of another version takes the line as well. */
const imageOf = ({ AGENT_IMAGE: name, AGENT_IMAGE_TRACK: track }: NodeJS.ProcessEnv): RunImage | undefined =>
  name !== undefined && (track === 'stable' || track === 'canary') ? { name, track } : undefined

const secretsOf = ({ channel }: RunnerJob): string[] => {
  if (channel.kind === 'gateway') return [channel.token]
  const { openai_api_key, mongodb_url, egress } = channel
  return [openai_api_key, ...urlSecrets(mongodb_url), ...(egress ? [egress.token] : [])]
}

/** By hand other secrets lie in the environment too; from a worker nothing of it is read. */
const ownSecrets = (): string[] => [
  ...['LANGFUSE_SECRET_KEY', 'LANGFUSE_PUBLIC_KEY'].map((name) => process.env[name] ?? ''),
  ...urlSecrets(process.env.REDIS_URL ?? ''),
]

const execute = async ({ job, rawJob, hasWorker }: Told): Promise<ExitName> => {
  await using opened = await openSink(job)
  const image = imageOf(process.env)
  return await runJob({
    job,
    rawJob,
    hasWorker,
    sink: opened.sink,
    workspace: WORKSPACE,
    commandEnv: commandEnv(process.env),
    secrets: [...secretsOf(job), ...(hasWorker ? [] : ownSecrets())],
    envHoldsSecrets: !hasWorker,
    inContainer,
    terminated: terminated.signal,
    say,
    complain,
    version: packageFile.version,
    ...(image && { image }),
  })
}

/** Evaluates all that is loaded late, for a compile cache that holds it: see infra/bundle-runner.ts. */
const warmUp = async (): Promise<ExitName> => {
  await Promise.all([
    import('#agent-runner/work.ts'),
    import('#agent-runner/manual-job.ts'),
    import('#store/mongodb-event-log.ts'),
    import('#agent-runner/rehearsal.ts'),
  ])
  return 'ok'
}

/** Started ahead, before there is a job: loads what the job will need, rehearses, and says so. */
const getWarm = async (argument: string): Promise<void> => {
  const [{ rehearse }, { RUNNER_READY }] = await Promise.all([
    import('#agent-runner/rehearsal.ts'),
    import('#contracts/job.ts'),
    import('#agent-runner/work.ts'),
    argument.endsWith('=direct') ? import('#store/mongodb-event-log.ts') : undefined,
  ])
  // Should it fail, the job shows why, in a log that somebody reads.
  await rehearse(terminated.signal).catch(() => undefined)
  say(RUNNER_READY)
}

const warmArgument = process.argv.find((argument) => argument.startsWith('--warm') && argument !== '--warm-up')

const main = async (): Promise<ExitName> => {
  if (process.argv[2] === '--warm-up') return warmUp()
  if (process.env.PROMPT !== undefined) {
    const told = await fromEnvironment()
    return typeof told === 'string' ? told : execute(told)
  }
  if (warmArgument !== undefined) await getWarm(warmArgument)
  const told = await fromStdin(warmArgument !== undefined)
  if (typeof told === 'string') return told
  // A container of its own begins in the workspace; one that was started ahead had none yet.
  if (warmArgument !== undefined) process.chdir(WORKSPACE)
  return execute(told)
}

const leave = async (name: ExitName): Promise<never> => {
  const { RUNNER_EXIT } = await import('#contracts/job.ts')
  process.exit(RUNNER_EXIT[name])
}

for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => terminated.abort())

void main()
  .catch((error: unknown): ExitName => {
    complain(error instanceof Error ? (error.stack ?? error.message) : String(error))
    return 'failed'
  })
  .then(leave)
