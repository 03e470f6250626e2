import { existsSync } from 'node:fs'
import { loadEnvFile } from 'node:process'
import { EngineError } from '#scheduler/engines/engine.ts'
import { ConfigError, type Env } from './read-env.ts'
import { StartError } from './start-error.ts'

/** EX_CONFIG of sysexits.h. */
const EXIT_CONFIG = 78

/** The environment of this process, with what a `.env` in the current directory adds. */
const environment = (): Env => {
  if (existsSync('.env')) loadEnvFile('.env')
  return process.env
}

const wordsOf = (error: unknown): string => {
  if (error instanceof StartError) return `${error.message}. ${error.remedy}`
  if (error instanceof EngineError) return `${error.message}. ${error.remediation}`
  return error instanceof Error ? (error.stack ?? error.message) : String(error)
}

const explain = (name: string, error: unknown): number => {
  const lines = error instanceof ConfigError ? error.lines : [wordsOf(error)]
  for (const line of lines) process.stderr.write(`mgx ${name}: ${line}\n`)
  return error instanceof ConfigError ? EXIT_CONFIG : 1
}

/** What is still open after an orderly end must not keep the process: milliseconds. */
const LINGER_MS = 3_000

/**
 * What every process of mgx does around its work: reads the environment, ends with 78 and one line per bad variable when that
 * is wrong, with 1 and the error when the work fails, and with what `work` returns otherwise.
 */
export const runRoot = async (name: string, work: (env: Env) => Promise<number>): Promise<void> => {
  try {
    process.exitCode = await work(environment())
  } catch (error) {
    process.exitCode = explain(name, error)
  }
  setTimeout(() => process.exit(), LINGER_MS).unref()
}
