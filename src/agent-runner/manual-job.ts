import { FRAMEWORK_NAMES } from '#contracts/frameworks.ts'
import { DEFAULT_TENANT, newRunId } from '#contracts/ids.ts'
import { RunnerJob } from '#contracts/job.ts'

/** The environment of a container that somebody starts by hand, as main read it. */
export type ManualEnvironment = {
  readonly SESSION_ID?: string | undefined
  readonly WORKSPACE_ID?: string | undefined
  readonly FRAMEWORK?: string | undefined
  readonly PROMPT?: string | undefined
  readonly MONGODB_URL?: string | undefined
  readonly MONGODB_DB?: string | undefined
  readonly OPENAI_API_KEY?: string | undefined
  readonly OPENAI_BASE_URL?: string | undefined
  readonly OPENAI_MODEL?: string | undefined
  readonly RUN_ID?: string | undefined
  readonly AGENT_MAX_STEPS?: string | undefined
  readonly AGENT_TASK_TIMEOUT_SECONDS?: string | undefined
}

/** The same as of a worker: see docs/configuration.md. */
const DEFAULT_DB = 'mgx'
const DEFAULT_MODEL = 'gpt-4.1'
const DEFAULT_MAX_STEPS = 100
const DEFAULT_TIMEOUT_SECONDS = 1800

const VARIABLES: Readonly<Record<string, keyof ManualEnvironment>> = {
  session_id: 'SESSION_ID',
  workspace_id: 'WORKSPACE_ID',
  framework: 'FRAMEWORK',
  prompt: 'PROMPT',
  max_steps: 'AGENT_MAX_STEPS',
  run_id: 'RUN_ID',
  model: 'OPENAI_MODEL',
}

/** An empty variable is an absent one, as everywhere in mgx. */
const present = (text: string | undefined): string | undefined => (text === '' ? undefined : text)

const missing = (env: ManualEnvironment): string[] =>
  (['SESSION_ID', 'WORKSPACE_ID', 'FRAMEWORK', 'MONGODB_URL', 'OPENAI_API_KEY'] as const)
    .filter((name) => present(env[name]) === undefined)
    .map((name) => `${name}: is missing`)

const seconds = (text: string | undefined): number =>
  text === undefined ? DEFAULT_TIMEOUT_SECONDS : /^\d{1,5}$/.test(text) ? Number(text) : Number.NaN

const badValues = (env: ManualEnvironment, limit: number): string[] => [
  ...(limit >= 1 && limit <= 86_400
    ? []
    : ['AGENT_TASK_TIMEOUT_SECONDS: must be a whole number of seconds from 1 to 86400']),
  ...(/^mongodb(\+srv)?:\/\/./.test(env.MONGODB_URL ?? '')
    ? []
    : ['MONGODB_URL: must be a mongodb:// or mongodb+srv:// URL']),
]

/**
 * The job that an environment describes, or one line for each variable that is wrong (its value is never repeated).
 * @param containerId names this container in `agent_start`
 */
export const manualJob = (
  env: ManualEnvironment,
  containerId: string,
): { readonly job: RunnerJob } | { readonly problems: readonly string[] } => {
  const absent = missing(env)
  if (absent.length > 0) return { problems: absent }
  const limit = seconds(present(env.AGENT_TASK_TIMEOUT_SECONDS))
  const bad = badValues(env, limit)
  if (bad.length > 0) return { problems: bad }
  const base = present(env.OPENAI_BASE_URL)
  const checked = RunnerJob.safeParse({
    v: 1,
    tenant_id: DEFAULT_TENANT,
    session_id: env.SESSION_ID,
    run_id: present(env.RUN_ID) ?? newRunId(),
    workspace_id: env.WORKSPACE_ID,
    framework: env.FRAMEWORK,
    prompt: env.PROMPT,
    model: present(env.OPENAI_MODEL) ?? DEFAULT_MODEL,
    max_steps: Number(present(env.AGENT_MAX_STEPS) ?? DEFAULT_MAX_STEPS),
    deadline: new Date(Date.now() + limit * 1000).toISOString(),
    container_id: containerId,
    channel: {
      kind: 'direct',
      mongodb_url: env.MONGODB_URL,
      mongodb_db: present(env.MONGODB_DB) ?? DEFAULT_DB,
      openai_api_key: env.OPENAI_API_KEY,
      ...(base === undefined ? {} : { openai_base_url: base }),
    },
  })
  if (checked.success) return { job: checked.data }
  const problems = checked.error.issues.map(({ path, message }) => {
    const name = VARIABLES[String(path[0])] ?? String(path[0])
    return name === 'FRAMEWORK' ? `FRAMEWORK: must be one of ${FRAMEWORK_NAMES.join(', ')}` : `${name}: ${message}`
  })
  return { problems }
}
