import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { ROOT } from '../runner/imports.ts'
import { type Daemon, startDaemon } from '../services/daemon.ts'

/** One process of mgx, with a directory of its own: `pid`, `kill`, `pause`, `resume`, `restart` as of any daemon. */
export type StackNode = Daemon & {
  /** What it has logged so far, over its restarts. */
  log(): string
}

export type Env = Readonly<Record<string, string>>

/** What a process of ours needs of the machine's environment, and nothing that would configure it. */
const machine = (): Env => {
  const { PATH = '', HOME = '', TMPDIR = '', DOCKER_HOST = '' } = process.env
  return { PATH, HOME, ...(TMPDIR && { TMPDIR }), ...(DOCKER_HOST && { DOCKER_HOST }) }
}

const read = (dir: string): string => readFileSync(join(dir, 'server.log'), 'utf8')

const countOf = (text: string, part: string): number => text.split(part).length - 1

const start = async (name: string, env: Env, ready: (dir: string) => Promise<boolean>): Promise<StackNode> => {
  let dir = ''
  const args = (given: string) => {
    dir = given
    return [join(ROOT, 'src/main', `${name}.ts`)]
  }
  const options = { name, command: process.execPath, args, env: { ...machine(), ...env }, ready: () => ready(dir) }
  const daemon = await startDaemon(options)
  return Object.assign(daemon, { log: () => read(daemon.dir) })
}

/** Resolves when it is ready: its database and its queue answer. */
export const startApi = (env: Env & { readonly PORT: string }): Promise<StackNode> =>
  start('api', env, async () => (await fetch(`http://127.0.0.1:${env.PORT}/readyz`)).ok)

/** Resolves when it takes runs; after a restart, when it does so again. */
export const startWorker = (env: Env): Promise<StackNode> => {
  let before = 0
  return start('worker', env, async (dir) => {
    const times = countOf(read(dir), 'the worker takes runs')
    if (times <= before) return false
    before = times
    return true
  })
}
