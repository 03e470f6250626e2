import assert from 'node:assert/strict'
import { workerConfig } from '#main/config.ts'
import type { Machine } from '#main/config-agents.ts'
import { ConfigError, type Env } from '#main/read-env.ts'

export const SERVICES = { MONGODB_URL: 'mongodb://db:27017/?replicaSet=rs0', REDIS_URL: 'redis://queue:6379' }
const MODEL = { OPENAI_API_KEY: 'sk-1' }
export const ROOT = { uid: 0, gid: 0 }
export const worker = (env: Env, machine: Machine = ROOT) => workerConfig({ ...SERVICES, ...MODEL, ...env }, machine)

export const linesOf = (work: () => unknown): readonly string[] => {
  try {
    work()
  } catch (error) {
    if (error instanceof ConfigError) return error.lines
    throw error
  }
  return []
}

export const onlyLine = (work: () => unknown): string => {
  const lines = linesOf(work)
  assert.equal(lines.length, 1, lines.join('\n'))
  return lines[0] ?? ''
}
