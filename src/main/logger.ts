import { type DestinationStream, type Logger, pino, stdSerializers } from 'pino'

/** Fields that carry secrets, wherever a caller puts them one level deep. */
const SECRET_FIELDS = ['authorization', 'apiKey', 'api_key', 'token', 'password', 'openai_api_key', 'mongodb_url']

const redacted = SECRET_FIELDS.flatMap((field) => [field, `*.${field}`, `*.headers.${field}`])

/** `scheme://user:password@host` → `scheme://***@host`: drivers put the address they were given into their messages. */
export const withoutCredentials = (text: string): string => text.replaceAll(/(\w+:\/\/)[^\s/@]*@/g, '$1***@')

/** One JSON line for each entry on standard output. `name` is the process: api, worker, dev. */
export const createLogger = (name: string, level: string, destination?: DestinationStream): Logger => {
  const options = {
    name,
    level,
    base: { pid: process.pid },
    timestamp: () => `,"time":"${new Date().toISOString()}"`,
    formatters: { level: (label: string) => ({ level: label }) },
    serializers: { err: (error: Error) => scrub(stdSerializers.errWithCause(error)) },
    redact: { paths: redacted, censor: '***' },
  }
  return destination === undefined ? pino(options) : pino(options, destination)
}

type Shown = Record<string, unknown>

/** Messages and stacks only, down the causes: what else an error carries may be circular, and holds no addresses. */
const scrub = (error: object): Shown => {
  const shown: Shown = { ...error }
  for (const key of ['message', 'stack']) {
    const text = shown[key]
    if (typeof text === 'string') shown[key] = withoutCredentials(text)
  }
  if (typeof shown.cause === 'object' && shown.cause !== null) shown.cause = scrub(shown.cause)
  return shown
}
