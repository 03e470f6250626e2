import { AGENTS } from './config-agent-variables.ts'
import { COMPOSE } from './config-compose-variables.ts'
import { GENERAL, type Variable } from './config-variables.ts'

type Section = {
  readonly title: string
  readonly read: string
  readonly variables: Readonly<Record<string, Variable>>
}

/** Every variable, in the order in which an operator meets them. */
export const SECTIONS: readonly Section[] = [
  { title: 'Model', read: 'worker, embedded mode, and MODEL_PRICES also the API', variables: GENERAL.model },
  { title: 'API', read: 'API, embedded mode', variables: GENERAL.http },
  { title: 'Database and queue', read: 'API, worker', variables: GENERAL.services },
  { title: 'Workspaces', read: 'worker, embedded mode', variables: AGENTS.workspaces },
  {
    title: 'Agent containers',
    read: 'worker, embedded mode, and AGENT_NETWORK and AGENT_DIRECT_NETWORK also the API',
    variables: AGENTS.engine,
  },
  { title: 'Kubernetes', read: 'worker, with ENGINE=kubernetes', variables: AGENTS.kubernetes },
  {
    title: 'Runs',
    read: 'worker, embedded mode, and MAX_RUNNING_RUNS_PER_TENANT also the API',
    variables: AGENTS.runs,
  },
  {
    title: 'Channel',
    read: 'worker, and AGENT_CHANNEL also the API; the embedded mode always uses the gateway',
    variables: AGENTS.channel,
  },
  {
    title: 'Egress',
    read: 'worker, embedded mode; in the direct channel on an internal network',
    variables: AGENTS.egress,
  },
  { title: 'Metrics', read: 'API, worker, embedded mode', variables: GENERAL.metrics },
  { title: 'Process', read: 'every process', variables: GENERAL.process },
]

const withoutValue = ({ fallback, otherwise }: Variable): string => {
  if (fallback !== undefined) return `\`${fallback}\``
  return otherwise ?? 'not set'
}

const row = ([name, variable]: [string, Variable]): string => {
  const file = variable.secret === true ? ` or \`${name}_FILE\`` : ''
  return `| \`${name}\`${file} | ${variable.says} It ${variable.rule}. | ${withoutValue(variable)} |`
}

const table = ({ title, read, variables }: Section): string =>
  [
    `## ${title}`,
    '',
    `Read by: ${read}.`,
    '',
    '| variable | what it is for | default |',
    '|---|---|---|',
    ...Object.entries(variables).map(row),
    '',
  ].join('\n')

const INTRO = `# Configuration

<!-- Written by \`node scripts/write-docs.ts\` from the tables in src/main; a test compares the two. -->

mgx is configured by environment variables only. The embedded mode, the API and the worker also read a file \`.env\` in
the directory they are started from; what is in the environment already wins. [\`.env.example\`](../.env.example) lists
every variable.

A bad value stops the start: one line for each bad variable with the rule it breaks, exit code 78. An empty value counts
as not set. A secret can be read from a file: \`OPENAI_API_KEY_FILE=/run/secrets/openai\` in place of \`OPENAI_API_KEY\`.
`

const composeTable = (): string =>
  [
    '## Docker Compose',
    '',
    'Read by `docker-compose.yml` and `make up`, from `.env`; no process of mgx sees them. The compose file hands the variables',
    'above on to API and worker, but for those that it must fix itself (addresses, passwords, paths in the containers) and those that',
    'its stack has no use for (`ENGINE`, `DOCKER_HOST`, `GATEWAY_TCP_*`, `KUBERNETES_*`). It takes secrets by value, not by `_FILE`.',
    '',
    '| variable | what it is for | default |',
    '|---|---|---|',
    ...Object.entries(COMPOSE).map(([name, { says, otherwise }]) => `| \`${name}\` | ${says} | ${otherwise} |`),
    '',
  ].join('\n')

const OUTRO = `## An agent by hand

\`docker run\` of the image without a worker (the README has the whole command) reads \`SESSION_ID\`, \`WORKSPACE_ID\`, \`FRAMEWORK\`,
\`PROMPT\`, \`MONGODB_URL\`, \`OPENAI_API_KEY\`, and if they are there \`MONGODB_DB\`, \`OPENAI_BASE_URL\`, \`OPENAI_MODEL\`, \`RUN_ID\`,
\`AGENT_MAX_STEPS\`, \`AGENT_TASK_TIMEOUT_SECONDS\`, with the rules and defaults above. \`REDIS_URL\` and \`LANGFUSE_*\` are accepted and not
needed. Without \`PROMPT\` it waits ten seconds for a worker's job line, and leaves.

## make demo

\`PROMPT\` is what the agent is asked to do, \`KEEP=1\` leaves the server running after the run, \`NO_COLOR=1\` switches colours
off, \`SETUP=none\` keeps the set-up from installing anything on the system.
`

/** docs/configuration.md. */
export const configurationPage = (): string => [INTRO, ...SECTIONS.map(table), composeTable(), OUTRO].join('\n')

const wrap = (text: string, width: number): string[] => {
  const lines: string[] = ['']
  for (const word of text.split(' ')) {
    const last = lines.at(-1) ?? ''
    if (last !== '' && last.length + word.length >= width) lines.push(word)
    else lines[lines.length - 1] = last === '' ? word : `${last} ${word}`
  }
  return lines
}

type Described = Pick<Variable, 'says' | 'fallback' | 'otherwise'>

const entry = ([name, variable]: [string, Described]): string => {
  const says = variable.fallback === undefined && variable.otherwise ? ` Without: ${variable.otherwise}.` : ''
  const comment = wrap(`${variable.says}${says}`, 98).map((line) => `# ${line}`)
  return [...comment, `#${name}=${variable.fallback ?? ''}`, ''].join('\n')
}

/** .env.example: everything commented out, so that a copy of it changes nothing. */
export const envExample = (): string =>
  [
    '# Copy to .env and set what you need; docs/configuration.md has the rules. Written by `node scripts/write-docs.ts`.',
    '',
    ...SECTIONS.flatMap(({ title, variables }) => [`# --- ${title} ---`, '', ...Object.entries(variables).map(entry)]),
    '# --- Docker Compose only ---',
    '',
    ...Object.entries(COMPOSE).map(entry),
  ].join('\n')
