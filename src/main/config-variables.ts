import type * as z from 'zod'
import * as field from './config-fields.ts'

/** One variable of the environment. docs/configuration.md and .env.example are written from this table. */
export type Variable = {
  readonly says: string
  /** What a value must be; the whole of the error message when it is not. */
  readonly rule: string
  readonly shape: z.ZodType<unknown, string>
  /** The default, as it would be written. */
  readonly fallback?: string
  /** What happens without a value, where that is not a plain default. */
  readonly otherwise?: string
  /** Never shown, and may be read from the file that `<NAME>_FILE` names. */
  readonly secret?: true
}

const httpVariables = {
  PORT: {
    says: 'TCP port of the API.',
    rule: 'must be a TCP port: a whole number from 0 (any free one) to 65535',
    shape: field.int(0, 65_535),
    fallback: '8000',
  },
  HOST: {
    says: 'Address the API listens on. Beyond loopback it also needs INSECURE_NO_AUTH=1, as long as there is no login.',
    rule: 'must be a host name or an IP address',
    shape: field.host,
    fallback: '127.0.0.1',
  },
  INSECURE_NO_AUTH: {
    says: 'Says that you know: whoever reaches the API may run agents. Set it where something else guards the port.',
    rule: 'must be 1 or 0',
    shape: field.flag,
    fallback: '0',
  },
  CORS_ORIGINS: {
    says: 'Origins whose pages may call the API from a browser, separated by commas; * for all.',
    rule: 'must be * or origins such as https://app.example.com, separated by commas, without a path',
    shape: field.origins,
    otherwise: 'only pages of the API itself',
  },
  API_DOCS: {
    says: 'Serves the browsable API reference at /docs (40 MB of memory once somebody has looked). /openapi.json is there in any case.',
    rule: 'must be 1 or 0',
    shape: field.flag,
    fallback: '1',
  },
  MAX_QUEUED_RUNS: {
    says: 'Runs that may wait for a worker. Beyond that generate answers 429 QUEUE_FULL.',
    rule: 'must be a whole number from 1 to 1000000',
    shape: field.int(1, 1_000_000),
    fallback: '10000',
  },
  MAX_QUEUED_RUNS_PER_TENANT: {
    says: 'Runs of one tenant that may wait for a worker.',
    rule: 'must be a whole number from 1 to 1000000',
    shape: field.int(1, 1_000_000),
    otherwise: 'MAX_QUEUED_RUNS',
  },
  QUEUE_TIMEOUT_SECONDS: {
    says: 'A run that no worker has taken up after so many seconds ends as queue_timeout.',
    rule: 'must be a whole number of seconds from 1 to 604800',
    shape: field.int(1, 604_800),
    fallback: '3600',
  },
} as const satisfies Record<string, Variable>

const serviceVariables = {
  MONGODB_URL: {
    says: 'MongoDB: a replica set (one member is enough), with a user that owns the database.',
    rule: 'must be a mongodb:// or mongodb+srv:// URL',
    shape: field.url('mongodb', 'mongodb+srv'),
    secret: true,
  },
  MONGODB_DB: {
    says: 'Name of the database.',
    rule: 'must be 1 to 63 letters, digits, "_" or "-"',
    shape: field.name.regex(/^[^.]+$/),
    fallback: 'mgx',
  },
  REDIS_URL: {
    says: 'Redis, for the job queue only. It should keep an append-only file and never evict.',
    rule: 'must be a redis:// or rediss:// URL',
    shape: field.url('redis', 'rediss'),
    secret: true,
  },
} as const satisfies Record<string, Variable>

const modelVariables = {
  OPENAI_API_KEY: {
    says: 'Key of the model API.',
    rule: 'can be any text',
    shape: field.text,
    otherwise: 'make demo and npm run dev use the scripted demo model; a worker needs it, or an OPENAI_BASE_URL',
    secret: true,
  },
  OPENAI_BASE_URL: {
    says: 'Where the model API is: anything that speaks the chat completions of OpenAI.',
    rule: 'must be an http:// or https:// URL, such as https://api.openai.com/v1',
    shape: field.baseUrl,
    otherwise: 'https://api.openai.com/v1',
  },
  OPENAI_MODEL: {
    says: 'Model of runs that do not name one in options.model.',
    rule: 'can be any text',
    shape: field.text,
    fallback: 'gpt-4.1',
  },
  MODEL_PRICES: {
    says: 'What models cost, in US dollars for a million tokens: usage then has cost_usd, and runs may have options.max_cost_usd. OPENAI_MODEL must be among them, and no agent image older than this setting in use: it would refuse its jobs.',
    rule: 'must be model=input/output or model=input/output/cached input, separated by commas, * for all others: gpt-4.1=2/8/0.5,*=10/40',
    shape: field.prices,
    otherwise: 'no cost is known, and options.max_cost_usd is refused',
  },
  LANGFUSE_PUBLIC_KEY: {
    says: 'Langfuse. Accepted and checked, not used yet: tracing comes in a later version.',
    rule: 'can be any text',
    shape: field.text,
  },
  LANGFUSE_SECRET_KEY: {
    says: 'Langfuse, as above.',
    rule: 'can be any text',
    shape: field.text,
    secret: true,
  },
  LANGFUSE_HOST: {
    says: 'Langfuse, as above.',
    rule: 'must be an http:// or https:// URL',
    shape: field.baseUrl,
  },
} as const satisfies Record<string, Variable>

const metricsVariables = {
  METRICS_PORT: {
    says: 'Serves figures for Prometheus at /metrics on this TCP port, apart from the API. docs/operations.md lists them.',
    rule: 'must be a TCP port: a whole number from 0 (any free one) to 65535',
    shape: field.int(0, 65_535),
    otherwise: 'nothing is measured; docker-compose.yml sets 9090',
  },
  METRICS_HOST: {
    says: 'Address that /metrics listens on. It tells numbers and no names, and asks for no login: keep it to your own network.',
    rule: 'must be a host name or an IP address',
    shape: field.host,
    fallback: '127.0.0.1',
  },
} as const satisfies Record<string, Variable>

const processVariables = {
  LOG_LEVEL: {
    says: 'What is logged: one JSON line each on standard output.',
    rule: 'must be one of trace, debug, info, warn, error, fatal, silent',
    shape: field.text.regex(/^(trace|debug|info|warn|error|fatal|silent)$/),
    fallback: 'info',
  },
  NODE_ENV: {
    says: 'In production the process engine, which isolates nothing, refuses to run.',
    rule: 'can be any text',
    shape: field.text,
  },
} as const satisfies Record<string, Variable>

export const GENERAL = {
  http: httpVariables,
  services: serviceVariables,
  model: modelVariables,
  metrics: metricsVariables,
  process: processVariables,
}
