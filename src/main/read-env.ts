import { readFileSync } from 'node:fs'
import type * as z from 'zod'
import type { Variable } from './config-variables.ts'

export type Env = Readonly<Record<string, string | undefined>>

type Table = Readonly<Record<string, Variable>>

/** What `readEnv` gives for a table: every variable, `undefined` where it may be absent and is. */
export type Values<T extends Table> = {
  readonly [K in keyof T]: T[K] extends { readonly fallback: string }
    ? z.output<T[K]['shape']>
    : z.output<T[K]['shape']> | undefined
}

/** The environment is wrong: one line per bad variable. The process exits with 78 (EX_CONFIG of sysexits.h). */
export class ConfigError extends Error {
  readonly lines: readonly string[]
  constructor(lines: readonly string[]) {
    super(lines.join('\n'))
    this.name = 'ConfigError'
    this.lines = lines
  }
}

/** Empty counts as absent: compose files hand on `NAME: ${NAME:-}`. */
const given = (value: string | undefined): string | undefined => (value?.trim() === '' ? undefined : value)

const readSecretFile = (name: string, path: string): string => {
  try {
    return readFileSync(path, 'utf8').trim()
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : 'unreadable'
    throw new ConfigError([`${name}_FILE=${path}: cannot be read (${code})`])
  }
}

const rawValue = (env: Env, name: string, { secret, fallback }: Variable): string | undefined => {
  const value = given(env[name])
  const file = secret === true ? given(env[`${name}_FILE`]) : undefined
  if (file === undefined) return value ?? fallback
  if (value !== undefined) throw new ConfigError([`${name}: is set twice, also by ${name}_FILE; keep one of them`])
  return readSecretFile(name, file)
}

const parseOne = (env: Env, name: string, variable: Variable): unknown => {
  const raw = rawValue(env, name, variable)
  if (raw === undefined) return undefined
  const parsed = variable.shape.safeParse(raw)
  if (parsed.success) return parsed.data
  throw new ConfigError([`${name}${variable.secret === true ? '' : `=${raw}`}: ${variable.rule}`])
}

/** Throws one `ConfigError` with the lines of all of `checks` that throw one. */
export const collect = (checks: readonly (() => void)[]): void => {
  const lines = checks.flatMap((check) => {
    try {
      check()
      return []
    } catch (error) {
      if (error instanceof ConfigError) return error.lines
      throw error
    }
  })
  if (lines.length > 0) throw new ConfigError(lines)
}

/** Reads the table's variables. Throws `ConfigError`, with a line for each bad one. */
export const readEnv = <T extends Table>(env: Env, table: T): Values<T> => {
  const values: Record<string, unknown> = {}
  const checks = Object.entries(table).map(([name, variable]) => () => {
    values[name] = parseOne(env, name, variable)
  })
  collect(checks)
  return values as Values<T>
}
