import type { Readable } from 'node:stream'
import type { RunnerJob } from '#contracts/job.ts'

/** A prompt of 256 KiB in which every byte is escaped, and the rest. */
const MAX_LINE_BYTES = 4 * 1024 * 1024

/**
 * The first line of `input`, without its newline; a last line may lack it. `undefined` when none came before `signal`
 * aborted, or the input ended empty. Throws when the line is too long.
 */
export const readJobLine = async (input: Readable, signal: AbortSignal): Promise<string | undefined> => {
  const { promise, resolve, reject } = Promise.withResolvers<string | undefined>()
  const parts: Buffer[] = []
  let size = 0
  const whole = () => Buffer.concat(parts).toString()
  const onData = (chunk: Buffer) => {
    const end = chunk.indexOf(10)
    parts.push(end === -1 ? chunk : chunk.subarray(0, end))
    size += chunk.length
    if (end !== -1) resolve(whole())
    else if (size > MAX_LINE_BYTES) reject(new Error(`the job line is longer than ${MAX_LINE_BYTES} bytes`))
  }
  input.on('data', onData)
  input.on('end', () => resolve(size === 0 ? undefined : whole()))
  input.on('error', () => resolve(undefined))
  signal.addEventListener('abort', () => resolve(undefined), { once: true })
  if (signal.aborted) resolve(undefined)
  try {
    return await promise
  } finally {
    input.destroy()
  }
}

const isText = (value: unknown): value is string => typeof value === 'string' && value !== ''

const CHANNEL_TEXTS: Readonly<Record<string, readonly string[]>> = {
  gateway: ['url', 'token'],
  direct: ['mongodb_url', 'mongodb_db', 'openai_api_key'],
}

/**
 * Enough of the contract to say `agent_start` without loading zod, which takes longer than all the rest; the whole of it
 * (`checkJob`) comes right behind.
 */
const looksLikeJob = (value: unknown): value is RunnerJob => {
  if (typeof value !== 'object' || value === null) return false
  const job = value as Readonly<Record<string, unknown>>
  const names = ['tenant_id', 'session_id', 'run_id', 'workspace_id', 'framework', 'model', 'deadline']
  if (job.v !== 1 || typeof job.prompt !== 'string' || typeof job.max_steps !== 'number') return false
  if (!names.every((name) => isText(job[name])) || Number.isNaN(Date.parse(String(job.deadline)))) return false
  const channel = job.channel as Readonly<Record<string, unknown>> | undefined
  return CHANNEL_TEXTS[String(channel?.kind)]?.every((name) => isText(channel?.[name])) ?? false
}

/** What is wrong with a job, in one line that repeats none of its values, or `undefined`. Loads zod. */
export const checkJob = async (value: unknown): Promise<string | undefined> => {
  const { RunnerJob } = await import('#contracts/job.ts')
  const checked = RunnerJob.safeParse(value)
  if (checked.success) return undefined
  return checked.error.issues.map(({ path, message }) => `${path.join('.') || 'the line'}: ${message}`).join('; ')
}

/** The job of a line, or what is wrong with the line. */
export const parseJob = async (line: string): Promise<RunnerJob | { readonly wrong: string }> => {
  let value: unknown
  try {
    value = JSON.parse(line)
  } catch {
    return { wrong: 'the line is not JSON' }
  }
  return looksLikeJob(value) ? value : { wrong: (await checkJob(value)) ?? 'the line is not a job' }
}
